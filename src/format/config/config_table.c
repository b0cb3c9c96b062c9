/* config_table.c - every key of the configuration, once. */
#include "format/config/config_internal.h"

#define AT(type, member) offsetof(type, member)
#define TABLE(fields)                                                                              \
    {                                                                                              \
        fields, TL_COUNT_OF(fields)                                                                \
    }

static const char *const DURABILITIES[] = {
    [TL_DURABILITY_FULL] = "full", [TL_DURABILITY_RELAXED] = "relaxed", NULL
};
static const char *const PRECISIONS[] = { [TL_PRECISION_FLOAT32] = "fp32",
                                          [TL_PRECISION_BF16] = "bf16",
                                          [TL_PRECISION_AUTO] = "auto",
                                          NULL };
static const char *const LEARNING[] = { [TL_LEARNING_AUTO] = "auto",
                                        [TL_LEARNING_CONTINUOUS] = "continuous",
                                        [TL_LEARNING_CAMPAIGN] = "campaign",
                                        [TL_LEARNING_OFF] = "off",
                                        NULL };
static const char *const INPUTS[] = {
    [TL_INPUT_IMAGE] = "image", [TL_INPUT_FEATURES] = "features", NULL
};

#define S(member) AT(tl_config_server, member)
static const tl_config_field SERVER_FIELDS[] = {
    { "listen", TL_CONFIG_ADDRESS, 0, 0, 65535, NULL, NULL, NULL,
      "Address and port; port 0 takes any free one. Beyond loopback a tokens_file is needed." },
    { "tls_certificate", TL_CONFIG_TEXT, S(tls_certificate), 0, 0, NULL, NULL, "server.crt",
      "PEM file with the certificate chain; needs tls_key. Without it: no TLS." },
    { "tls_key", TL_CONFIG_TEXT, S(tls_key), 0, 0, NULL, NULL, "server.key",
      "PEM file with the private key." },
    { "tokens_file", TL_CONFIG_TEXT, S(tokens_file), 0, 0, NULL, NULL, "tokens",
      "File of hashed bearer tokens with their rights." },
    { "allow_unauthenticated", TL_CONFIG_BOOL, S(allow_unauthenticated), 0, 0, NULL, NULL, NULL,
      "Listen beyond loopback without tokens: anybody who reaches the port may do everything." },
    { "max_body_bytes", TL_CONFIG_BYTES, S(max_body_bytes), 1024, 1 << 30, NULL, NULL, NULL,
      "Largest request body." },
    { "max_connections", TL_CONFIG_UINT32, S(max_connections), 1, 100000, NULL, NULL, NULL,
      "Open connections; further ones are turned away." },
    { "max_connections_per_ip", TL_CONFIG_UINT32, S(max_connections_per_ip), 0, 100000, NULL, NULL,
      NULL, "Open connections of one address; 0: no bound of its own." },
    { "idle_timeout_s", TL_CONFIG_UINT32, S(idle_timeout_s), 1, 86400, NULL, NULL, NULL,
      "Seconds after which a silent connection is closed." },
    { "request_timeout_s", TL_CONFIG_UINT32, S(request_timeout_s), 1, 86400, NULL, NULL, NULL,
      "Seconds that a client may take to send a request." },
    { "open_metrics", TL_CONFIG_BOOL, S(open_metrics), 0, 0, NULL, NULL, NULL,
      "GET /metrics needs no token, though there is a tokens_file." },
    { "io_threads", TL_CONFIG_UINT32, S(io_threads), 1, 64, NULL, NULL, NULL,
      "Threads that read requests and write answers." },
};
static const tl_config_table SERVER = TABLE(SERVER_FIELDS);

/* In tl_config itself: the runtime's options are written by two sections. */
#define R(member) AT(tl_config, runtime.member)
static const tl_config_field RETENTION_FIELDS[] = {
    { "size", TL_CONFIG_BYTES, R(retention_bytes), 0, 1e18, NULL, NULL, NULL,
      "Above this size the oldest unlabelled items are dropped; 0 keeps all." },
    { "days", TL_CONFIG_UINT32, R(retention_days), 0, 36500, NULL, NULL, NULL,
      "Unlabelled items older than this are dropped; 0 keeps all." },
};
static const tl_config_table RETENTION = TABLE(RETENTION_FIELDS);

static const tl_config_field JOURNAL_FIELDS[] = {
    { "path", TL_CONFIG_TEXT, R(path), 0, 0, NULL, NULL, NULL,
      "Folder of the journal; made when missing." },
    { "durability", TL_CONFIG_CHOICE, R(durability), 0, 0, DURABILITIES, NULL, NULL,
      "full: acknowledged means on disk. relaxed: a power cut may lose the last moments." },
    { "quota", TL_CONFIG_BYTES, R(quota_bytes), 0, 1e18, NULL, NULL, NULL,
      "Size at which predictions are refused (507); 0: no quota." },
    { "retention", TL_CONFIG_SECTION, 0, 0, 0, NULL, &RETENTION, NULL,
      "What is dropped when. Labelled items always outlive unlabelled ones." },
};
static const tl_config_table JOURNAL = TABLE(JOURNAL_FIELDS);

static const tl_config_field ENGINE_FIELDS[] = {
    { "trainer_threads", TL_CONFIG_UINT32, R(trainer_threads), 0, 64, NULL, NULL, NULL,
      "Threads of a campaign of the slow learner; 0: serve and learn fast heads only." },
    { "batch_max", TL_CONFIG_UINT32, R(batch_max), 1, 1024, NULL, NULL, NULL,
      "Items that are predicted together at most." },
    { "queue_max", TL_CONFIG_UINT32, R(queue_max), 1, 1000000, NULL, NULL, NULL,
      "Items that may wait before callers are told to try again (503)." },
    { "precision", TL_CONFIG_CHOICE, R(precision), 0, 0, PRECISIONS, NULL, NULL,
      "Numbers inside a network that answers; learning is fp32. bf16 needs AVX-512; auto: bf16 "
      "where AMX makes it faster." },
};
static const tl_config_table ENGINE = TABLE(ENGINE_FIELDS);

static const char *const PROMOTIONS[] = {
    [TL_PROMOTION_PROVEN] = "proven", [TL_PROMOTION_NO_WORSE] = "no-worse", NULL
};
static const char *const UNITS[] = {
    [TL_EVIDENCE_BOARD] = "board", [TL_EVIDENCE_LOT] = "lot", [TL_EVIDENCE_ITEM] = "item", NULL
};
static const char *const RESPONSES[] = {
    [TL_RESPONSE_OFF] = "off", [TL_RESPONSE_DRY_RUN] = "dry-run", [TL_RESPONSE_ACT] = "act", NULL
};

#define G(member) AT(tl_loop_options, gate.member)
static const tl_config_field GATE_FIELDS[] = {
    { "promotion", TL_CONFIG_CHOICE, G(promotion), 0, 0, PROMOTIONS, NULL, NULL,
      "proven: a version serves when evidence proves it better. no-worse: when it did no worse on "
      "the last labels. A cold loop always does the second." },
    { "alpha", TL_CONFIG_DOUBLE, G(alpha), 1e-6, 0.5, NULL, NULL, NULL,
      "Chance of any false promotion, ever, however many versions are tried." },
    { "effect", TL_CONFIG_DOUBLE, G(effect), 0, 0.5, NULL, NULL, NULL,
      "Least gain that counts, in cost an item." },
    { "cost_miss", TL_CONFIG_DOUBLE, G(cost_miss), 0.001, 1, NULL, NULL, NULL,
      "Cost of a defect that passes." },
    { "cost_false_alarm", TL_CONFIG_DOUBLE, G(cost_false_alarm), 0.001, 1, NULL, NULL, NULL,
      "Cost of a good item that is flagged." },
    { "noise", TL_CONFIG_DOUBLE, G(noise), 0, 0.4, NULL, NULL, NULL,
      "Share of labels that are wrong at random, at most." },
    { "hostile", TL_CONFIG_DOUBLE, G(hostile), 0, 0.4, NULL, NULL, NULL,
      "Share of the evidence that one hostile source may give; also the cap on each source, so "
      "there must be more than 1/share of them. Whoever contradicts what answers far more often "
      "than the others is not learned from. 0: sources are trusted." },
    { "promised_error", TL_CONFIG_DOUBLE, G(promised_error), 0, 0.5, NULL, NULL, NULL,
      "Share of wrong calls that is promised; an alarm tells when it is broken. 0: none." },
    { "alarm_days", TL_CONFIG_UINT32, G(alarm_days), 1, 36500, NULL, NULL, NULL,
      "Mean days between such alarms when nothing is wrong." },
    { "take_back", TL_CONFIG_CHOICE, G(take_back), 0, 0, RESPONSES, NULL, NULL,
      "What is done when the last certified version proves better than what serves." },
    { "drift", TL_CONFIG_CHOICE, G(drift), 0, 0, RESPONSES, NULL, NULL,
      "What is done when items look different, without any label: act makes audits four times as "
      "dense for a while, and never more." },
    { "drift_items", TL_CONFIG_UINT32, G(drift_items), 1000, 4000000000.0, NULL, NULL, NULL,
      "Mean items between such alarms when nothing has changed." },
    { "take_back_days", TL_CONFIG_UINT32, G(take_back_days), 1, 36500, NULL, NULL, NULL,
      "Mean days between taking back when nothing is wrong." },
};
static const tl_config_table GATE = TABLE(GATE_FIELDS);

static const tl_config_field EVIDENCE_FIELDS[] = {
    { "unit", TL_CONFIG_CHOICE, G(unit), 0, 0, UNITS, NULL, NULL,
      "What is one witness: the items of one board, of one lot, or each item." },
    { "timeout_s", TL_CONFIG_UINT32, G(timeout_s), 1, 100000000, NULL, NULL, NULL,
      "A review that is not answered by then counts against the new version." },
};
static const tl_config_table EVIDENCE = TABLE(EVIDENCE_FIELDS);

#define V(member) AT(tl_loop_options, review.member)
static const tl_config_field REVIEW_FIELDS[] = {
    { "budget", TL_CONFIG_DOUBLE, V(budget), 0, 1, NULL, NULL, NULL,
      "Share of all items put before people, flagged ones and audits included; what is left goes "
      "to uncertain and to new items. 0: only what is flagged, disagreed about or audited." },
    { "blind", TL_CONFIG_DOUBLE, V(blind), 0, 1, NULL, NULL, NULL,
      "Share of flagged items that are shown without the verdict." },
    { "band", TL_CONFIG_DOUBLE, V(band), 0, 1, NULL, NULL, NULL,
      "Probability of an audit just below the threshold that is to be certified, while the line is "
      "frozen." },
    { "escapes", TL_CONFIG_DOUBLE, V(escapes), 0.0001, 0.5, NULL, NULL, NULL,
      "Share of the defects that may score below the accepting threshold, to be certified while "
      "the "
      "line is frozen." },
    { "confidence", TL_CONFIG_DOUBLE, V(confidence), 0.51, 0.9999, NULL, NULL, NULL,
      "Of that certificate." },
    { "disagreements", TL_CONFIG_DOUBLE, V(disagreements), 0.001, 1, NULL, NULL, NULL,
      "Share of all items that people are asked about only because versions in the shadow call "
      "them otherwise; beyond, not all of these are asked about. 1: all." },
    { "repeats", TL_CONFIG_DOUBLE, V(repeats), 0, 1, NULL, NULL, NULL,
      "Share of the answered reviews that are put up once more, blind, to the same person or "
      "another, "
      "to measure how well people repeat themselves and agree." },
    { "people", TL_CONFIG_PEOPLE, 0, 0, TL_PERSON_COUNT_MAX, NULL, NULL, "[anna, ben]",
      "Who reviews, by the source of their feedback (the name of their token). Each board goes to "
      "one of them by lot, and only that one's answer is evidence. Without names: anybody's is." },
    { "automatic", TL_CONFIG_BOOL, V(automatic), 0, 0, NULL, NULL, NULL,
      "Calls that audits have certified become labels of little weight for the slow learner, "
      "and never evidence." },
    { "automatic_precision", TL_CONFIG_DOUBLE, V(automatic_precision), 0.9, 0.9999, NULL, NULL,
      NULL, "How often such calls must be right, at 95 % confidence for all kinds of them." },
};
static const tl_config_table REVIEW = TABLE(REVIEW_FIELDS);

#define L(member) AT(tl_loop_options, member)
static const tl_config_field LOOP_FIELDS[] = {
    { "name", TL_CONFIG_NAME, L(name), 0, 0, NULL, NULL, NULL,
      "The loop's name in URLs: letters, digits, '.', '_', '-'." },
    { "input", TL_CONFIG_CHOICE, L(input), 0, 0, INPUTS, NULL, NULL,
      "What an item is: an image, or a vector of features." },
    { "size", TL_CONFIG_SIZE, L(height), 1, TL_IMAGE_SIDE_MAX, NULL, NULL, NULL,
      "Images are scaled to this height x width on the way in." },
    { "channels", TL_CONFIG_UINT32, L(channels), 1, 3, NULL, NULL, NULL, "1: grey, 3: colour." },
    { "template", TL_CONFIG_BOOL, L(has_template), 0, 0, NULL, NULL, NULL,
      "Each image comes with its template (golden sample) to compare with." },
    { "features", TL_CONFIG_UINT32, L(feature_count), 0, TL_FEATURE_COUNT_MAX, NULL, NULL, NULL,
      "Numbers in a vector, for input: features." },
    { "feature_range", TL_CONFIG_FLOAT, L(feature_range), 1e-6, 1e6, NULL, NULL, NULL,
      "Features beyond plus or minus this are clamped." },
    { "classes", TL_CONFIG_CLASSES, 0, 2, TL_CLASS_COUNT_MAX, NULL, NULL, NULL,
      "Class names; the first one is \"nothing to flag\"." },
    { "model", TL_CONFIG_TEXT, L(model_path), 0, 0, NULL, NULL, "model.onnx",
      "ONNX file to start from, of which the journal keeps a copy, or the name of a built-in "
      "network (tightloop models); without it a small network learns from nothing." },
    { "keep_head", TL_CONFIG_BOOL, L(keep_head), 0, 0, NULL, NULL, NULL,
      "The model's own last layer must have as many classes, and is kept." },
    { "normalisation", TL_CONFIG_TEXT, L(normalisation), 0, 0, NULL, NULL, "imagenet",
      "How pixels become the model's numbers: symmetric (the default), unit, imagenet, "
      "efficientnet_lite, or MEAN,MEAN,MEAN/STD,STD,STD of bytes 0 to 255." },
    { "learning", TL_CONFIG_CHOICE, L(learning), 0, 0, LEARNING, NULL, NULL,
      "How the network learns: a little with each label, in campaigns, not at all, or as suits its "
      "size. The fast head learns in any case." },
    { "campaign_labels", TL_CONFIG_UINT32, L(campaign_labels), 16, 1000000, NULL, NULL, NULL,
      "New labels before the first campaign; the next ones come when there are twice as many." },
    { "seed", TL_CONFIG_UINT64, L(seed), 0, 0, NULL, NULL, NULL,
      "Of initial weights, sampling and audit." },
    { "replay_per_label", TL_CONFIG_UINT32, L(replay_per_label), 0, 1024, NULL, NULL, NULL,
      "Images replayed by the slow learner for each new label." },
    { "publish_every_labels", TL_CONFIG_UINT32, L(publish_every_labels), 1, 1000000, NULL, NULL,
      NULL, "The slow learner offers its weights that often." },
    { "cold_labels", TL_CONFIG_UINT32, L(cold_labels), 0, 1000000000, NULL, NULL, NULL,
      "Everything is put up for review until there are so many labels and defects are found." },
    { "audit_rate", TL_CONFIG_DOUBLE, L(audit_rate), 0, 1, NULL, NULL, NULL,
      "Share of passed items that is put up for review all the same." },
    { "target_precision", TL_CONFIG_DOUBLE, L(target_precision), 0, 1, NULL, NULL, NULL,
      "Flags aim at being right this often." },
    { "gate", TL_CONFIG_SECTION, 0, 0, 0, NULL, &GATE, NULL,
      "When a version goes into service, and when it is taken back." },
    { "evidence", TL_CONFIG_SECTION, 0, 0, 0, NULL, &EVIDENCE, NULL,
      "What counts as evidence for it." },
    { "review", TL_CONFIG_SECTION, 0, 0, 0, NULL, &REVIEW, NULL,
      "What is put before people, and what is certified from their answers." },
};
static const tl_config_table LOOP = TABLE(LOOP_FIELDS);

static const tl_config_field FILE_FIELDS[] = {
    { "server", TL_CONFIG_SECTION, AT(tl_config, server), 0, 0, NULL, &SERVER, NULL,
      "The HTTP server." },
    { "journal", TL_CONFIG_SECTION, 0, 0, 0, NULL, &JOURNAL, NULL,
      "The durable record of everything." },
    { "engine", TL_CONFIG_SECTION, 0, 0, 0, NULL, &ENGINE, NULL, "Threads and queues." },
    { "loops", TL_CONFIG_LOOPS, 0, 0, TL_CONFIG_LOOP_COUNT_MAX, NULL, &LOOP, NULL,
      "The tasks that improve themselves." },
};
const tl_config_table TL_CONFIG_TABLE = TABLE(FILE_FIELDS);
