/* The batcher's thread: items of many requests through the network together, then to the journal.
 * It waits for nothing: what is queued at the moment makes a batch. */
#include "loop/asking/people.h"
#include "loop/threads/runtime.h"

#include <math.h>
#include <string.h>

enum { OPS_A_ROUND = 64 };

/* ---- Answering (on the journal's writer thread) ---------------------------------------------- */

static tl_zone zone_of(const tl_prediction_record *p)
{
    if (p->flagged) return TL_ZONE_REJECT;
    return tl_review_logged_rule(p->reason) == TL_REVIEW_ZONE ? TL_ZONE_REVIEW : TL_ZONE_ACCEPT;
}

static void fill_prediction(const tl_loop *loop, const tl_record *record, uint32_t class_count,
                            tl_prediction *out)
{
    const tl_prediction_record *p = &record->as.prediction;
    *out =
        (tl_prediction){ .id = p->id,
                         .position = record->position,
                         .version = p->version,
                         .epoch = p->epoch,
                         .label = p->label,
                         .class_count = class_count,
                         .threshold = p->threshold,
                         .flagged = p->flagged,
                         .zone = zone_of(p),
                         .review = p->review,
                         .blind = tl_review_logged_blind(p->reason),
                         .propensity = p->propensity,
                         .person = tl_people_name(&loop->asks, tl_people_asked(&loop->asks, p)) };
    memcpy(out->scores, p->scores, class_count * sizeof *out->scores);
    out->defect_score = 1.0f - out->scores[0];
}

/* A retry: the answer of the first time, from the journal. */
static tl_status recall_answer(tl_predict_op *op, tl_error *err)
{
    tl_loop *loop = op->message.loop;
    uint64_t count = op->entry.last_position - op->entry.first_position + 1;
    if (count != op->count)
        return tl_fail(err, TL_ECONFLICT, "this request id was used for something else");
    tl_status status = TL_OK;
    pthread_mutex_lock(&loop->lookup_mutex);
    tl_arena_reset(&loop->lookup.arena);
    for (size_t i = 0; i < op->count && status == TL_OK; i++) {
        tl_record record;
        uint64_t position = op->entry.first_position + i;
        status = tl_journal_next(loop->lookup.journal, loop->number, position - 1,
                                 &loop->lookup.arena, &record, err); /* a tombstone is fine */
        if (status == TL_OK &&
            (record.position != position || record.kind != TL_RECORD_PREDICTION ||
             record.as.prediction.score_count > TL_CLASS_COUNT_MAX))
            status = tl_fail(err, TL_ECONFLICT, "this request id was used for something else");
        if (status == TL_OK)
            fill_prediction(loop, &record, record.as.prediction.score_count, &op->predictions[i]);
    }
    pthread_mutex_unlock(&loop->lookup_mutex);
    return status;
}

static void count_answers(tl_loop *loop, const tl_predict_op *op)
{
    uint64_t flagged = 0, reviews = 0;
    for (size_t i = 0; i < op->count; i++) {
        flagged += op->records[i].as.prediction.flagged;
        reviews += op->records[i].as.prediction.review;
    }
    pthread_mutex_lock(&loop->mutex);
    loop->shared.seen.predictions += op->count;
    loop->shared.seen.flagged += flagged;
    loop->shared.seen.reviews += reviews;
    loop->shared.seen.position = op->entry.last_position;
    pthread_mutex_unlock(&loop->mutex);
    int64_t now_ns = tl_env_mono_ns(loop->runtime->env);
    tl_histogram_record_ns(&loop->answer_ns, now_ns - op->arrived_ns);
    if (op->model != NULL) tl_spans_answered(&loop->spans, op->model->version, now_ns);
}

/* Feedback may wait for ids that were brought: it is joined before the answer leaves. */
static bool is_waited_for(const tl_predict_op *op)
{
    return op->brought_ids && atomic_load(&op->message.loop->pending) > 0;
}

/* The learner sees every prediction: those that nobody labels are evidence too. */
void tl_predict_op_answer(tl_predict_op *op, tl_status status, const tl_error *err)
{
    tl_loop *loop = op->message.loop;
    tl_error own;
    if (status == TL_OK && op->entry.repeated) {
        err = &own;
        status = recall_answer(op, &own);
    } else if (status == TL_OK) {
        for (size_t i = 0; i < op->count; i++)
            fill_prediction(loop, &op->records[i], op->records[i].as.prediction.score_count,
                            &op->predictions[i]);
        count_answers(loop, op);
    }
    bool is_new = status == TL_OK && !op->entry.repeated;
    op->answer_later = is_new && is_waited_for(op);
    if (status != TL_OK)
        op->done(op->context, status, NULL, 0, err);
    else if (!op->answer_later)
        op->done(op->context, TL_OK, op->predictions, op->count, NULL);
    if (op->answer_later)
        tl_message_post(loop->runtime, &op->message);
    else if (is_new)
        tl_message_post_quietly(loop->runtime, &op->message);
    else
        tl_predict_op_leave(op);
}

void tl_predict_op_leave(tl_predict_op *op)
{
    tl_loop *loop = op->message.loop;
    size_t count = op->count;
    tl_predict_op_free(op);
    atomic_fetch_sub(&loop->runtime->waiting_items, count);
    atomic_fetch_sub(&loop->inflight, count); /* the last touch: the loop may be gone now */
}

static void committed(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    tl_predict_op_answer(entry->context, status, err);
}

/* ---- Running --------------------------------------------------------------------------------- */

/* Requests of one loop and one model, gathered until the batch is full. */
typedef struct batch {
    tl_loop *loop;
    tl_model *model; /* borrowed from the first operation */
    /* While it runs: the policies that decide beside the model, and how to choose for review. */
    tl_model *shadows[TL_GATE_SHADOW_MAX];
    size_t shadow_count;
    double audit_factor;
    tl_core_zones zones;
    uint32_t rows, row_max;
    uint64_t champion;
    bool automatic; /* calls may become labels */
    struct {
        tl_predict_op *op;
        size_t item;
        float novelty;
    } row[256];
    tl_model_row scored; /* the row that is scored just now */
} batch;

static tl_prediction_record *record_of(const batch *b, uint32_t index)
{
    return &b->row[index].op->records[b->row[index].item].as.prediction;
}

static void op_submit(tl_predict_op *op)
{
    if (op->status != TL_OK) {
        tl_predict_op_answer(op, op->status, &op->err);
        return;
    }
    tl_error err = { 0 };
    op->entry.records = op->records;
    op->entry.count = op->count;
    op->entry.done = committed;
    op->entry.context = op;
    tl_status status = tl_journal_submit(op->message.loop->runtime->journal, &op->entry, &err);
    if (status != TL_OK) tl_predict_op_answer(op, status, &err);
}

/* What the plan has just run of one row, for the models that score it. */
static void begin_row(batch *b, uint32_t index)
{
    const tl_plan *plan = b->loop->serving_plan;
    size_t outputs = tl_shape_count(tl_graph_output_shape(b->loop->graph, 0));
    size_t features = tl_graph_feature_count(b->loop->graph);
    tl_model_row_begin(&b->scored, tl_plan_output(plan, 0) + index * outputs,
                       tl_plan_features(plan) + index * features);
}

/* What the model says of the row, to the record that will be journaled. */
static tl_status score_row(batch *b, uint32_t index, tl_error *err)
{
    tl_prediction_record *p = record_of(b, index);
    uint32_t class_count = b->model->class_count;
    float *head_scores = tl_arena_alloc(&b->row[index].op->arena,
                                        (TL_MODEL_HEAD_COUNT + 1) * class_count * sizeof(float));
    if (head_scores == NULL) return tl_fail(err, TL_ENOMEM, "scores");
    float *scores = head_scores + TL_MODEL_HEAD_COUNT * class_count;
    tl_model_score_row(b->model, &b->scored, head_scores, scores);
    p->version = b->model->version;
    p->epoch = b->model->epoch;
    p->scores = scores;
    p->score_count = class_count;
    p->head_scores = head_scores;
    p->head_count = TL_MODEL_HEAD_COUNT;
    p->label = tl_model_most_likely(scores, class_count);
    p->threshold = b->model->threshold;
    p->flagged = 1.0f - scores[0] >= p->threshold;
    /* Among what passes it; what is flagged is reviewed anyway. */
    bool asked = b->loop->novelty != NULL && !p->flagged && p->version == b->champion;
    b->row[index].novelty =
        asked ? tl_novelty_see(b->loop->novelty, p->version, b->scored.features) : NAN;
    return TL_OK;
}

/* What a policy in shadow makes of the row. */
static void shadow_row(batch *b, uint32_t index, const tl_model *shadow)
{
    tl_prediction_record *p = record_of(b, index);
    if (p->shadows == NULL) return; /* out of memory: no evidence, and no harm to the answer */
    tl_shadow_record *out = (tl_shadow_record *)&p->shadows[p->shadow_count++];
    float head_scores[TL_MODEL_HEAD_COUNT * TL_CLASS_COUNT_MAX], scores[TL_CLASS_COUNT_MAX];
    tl_model_score_row(shadow, &b->scored, head_scores, scores);
    float defect_score = 1.0f - scores[0];
    *out = (tl_shadow_record){ .version = shadow->key,
                               .defect_score = defect_score,
                               .label = (uint8_t)tl_model_most_likely(scores, shadow->class_count),
                               .flagged = defect_score >= shadow->threshold };
}

static void row_to_input(const batch *b, uint32_t index)
{
    tl_loop *loop = b->loop;
    tl_predict_op *op = b->row[index].op;
    size_t item = b->row[index].item;
    const tl_loop_info *info = &loop->config.info;
    const uint8_t *pixels = NULL;
    const float *features = NULL;
    if (info->input == TL_INPUT_IMAGE) {
        tl_pixels_form form = tl_items_pixels_form(&loop->config);
        pixels = op->pixels + item * tl_pixels_item_bytes(&form);
    } else {
        features = op->features + item * info->feature_count;
    }
    tl_items_to_input(&loop->config, pixels, features, tl_plan_input(loop->serving_plan, 0), index);
}

static bool shares_weights(const batch *b, size_t shadow)
{
    return b->shadows[shadow]->weights == b->model->weights;
}

/* Policies that share the model's weights cost a few multiplications. */
static void score_sharing(batch *b, uint32_t index)
{
    for (size_t s = 0; s < b->shadow_count; s++)
        if (shares_weights(b, s)) shadow_row(b, index, b->shadows[s]);
}

/* Another backbone costs a pass. One that cannot be run is left out. */
static void score_others(batch *b)
{
    for (size_t s = 0; s < b->shadow_count; s++) {
        if (shares_weights(b, s)) continue;
        for (uint32_t i = 0; i < b->rows; i++) row_to_input(b, i);
        if (tl_plan_infer(b->loop->serving_plan, b->shadows[s]->weights, b->rows, NULL) != TL_OK)
            continue;
        for (uint32_t i = 0; i < b->rows; i++) {
            begin_row(b, i);
            shadow_row(b, i, b->shadows[s]);
        }
    }
}

static void make_room_for_shadows(const batch *b)
{
    for (uint32_t i = 0; i < b->rows && b->shadow_count > 0; i++)
        record_of(b, i)->shadows =
            tl_arena_alloc(&b->row[i].op->arena, b->shadow_count * sizeof(tl_shadow_record));
}

static void note_rivals(const batch *b, const tl_prediction_record *p, tl_rival_calls *out)
{
    for (size_t s = 0; s < b->shadow_count; s++) {
        tl_rival sort = b->shadows[s]->challenges ? TL_RIVAL_CHALLENGER : TL_RIVAL_SNAPSHOT;
        uint64_t key = b->shadows[s]->key;
        if (key > out->newest[sort]) out->newest[sort] = key;
        for (uint32_t i = 0; i < p->shadow_count; i++)
            if (p->shadows[i].version == key && p->shadows[i].flagged != p->flagged)
                out->disagrees[sort] = true;
    }
}

/* How sure the version's own head is of what is answered, which must be an answer of one piece: flagged
 * as a defect, or good and passed. */
static uint32_t own_call(const tl_prediction_record *p)
{
    const float *own = p->head_scores + TL_MODEL_NETWORK * p->score_count;
    bool same = tl_model_most_likely(own, p->score_count) == p->label;
    return same && p->flagged == (p->label != 0) ? tl_automatic_call((double)own[p->label]) : 0;
}

static void choose_for_review(const batch *b, uint32_t index)
{
    tl_prediction_record *p = record_of(b, index);
    double score = 1.0 - (double)p->scores[0];
    tl_review_signals signals = { .id = p->id,
                                  .flagged = p->flagged,
                                  .cold = b->model->cold,
                                  .zone = score >= b->zones.accept_below,
                                  .band = score >= b->zones.band_low && score < b->zones.band_high,
                                  .novelty = b->row[index].novelty,
                                  .alarm = (float)b->audit_factor };
    note_rivals(b, p, &signals.rivals);
    if (b->loop->review.budget > 0.0)
        signals.p = (float)tl_calibrator_read(&b->loop->calibrator, score);
    tl_review_choice choice = tl_reviewer_choose(b->loop->reviewer, &signals);
    p->review = choice.review;
    p->propensity = choice.propensity;
    uint32_t call = b->automatic && p->version == b->champion ? own_call(p) : 0;
    p->reason = tl_review_log(choice.rule, choice.blind, call);
}

static void take_review_policy(tl_loop *loop, const tl_reviewer_policy *review)
{
    loop->review = *review;
    tl_reviewer_set_policy(loop->reviewer, &loop->review);
    if (review->budget > 0.0 && loop->novelty == NULL)
        loop->novelty = tl_novelty_create((uint32_t)tl_graph_feature_count(loop->graph));
    if (review->budget <= 0.0) tl_novelty_destroy(&loop->novelty);
}

/* What is in force for this batch. */
static void batch_begin(batch *b)
{
    tl_loop *loop = b->loop;
    pthread_mutex_lock(&loop->mutex);
    tl_reviewer_policy review = loop->shared.review;
    b->audit_factor = loop->shared.audit_factor;
    b->zones = loop->shared.zones;
    b->champion = loop->shared.state.champion;
    b->automatic = loop->shared.automatic;
    if (loop->calibrator_number != loop->shared.calibrator_number) {
        loop->calibrator = loop->shared.calibrator;
        loop->calibrator_number = loop->shared.calibrator_number;
    }
    b->shadow_count = loop->shared.shadow_count;
    for (size_t i = 0; i < b->shadow_count; i++) {
        b->shadows[i] = loop->shared.shadows[i];
        tl_model_retain(b->shadows[i]);
    }
    pthread_mutex_unlock(&loop->mutex);
    if (memcmp(&review, &loop->review, sizeof review) != 0) take_review_policy(loop, &review);
}

static void batch_end(batch *b)
{
    for (size_t i = 0; i < b->shadow_count; i++) tl_model_release(&b->shadows[i]);
    b->rows = 0;
    b->shadow_count = 0;
    b->loop = NULL;
}

static void row_done(batch *b, uint32_t index, tl_status status, const tl_error *err)
{
    tl_predict_op *op = b->row[index].op;
    if (status != TL_OK && op->status == TL_OK) {
        op->status = status;
        op->err = *err;
    }
    if (status == TL_OK) choose_for_review(b, index);
    if (++op->answered == op->count) op_submit(op);
}

static void batch_run(batch *b)
{
    if (b->rows == 0) return;
    tl_error err = { 0 };
    tl_status scored[TL_COUNT_OF(b->row)];
    batch_begin(b);
    tl_status status = tl_plan_infer(b->loop->serving_plan, b->model->weights, b->rows, &err);
    make_room_for_shadows(b);
    for (uint32_t i = 0; i < b->rows; i++) {
        scored[i] = status;
        if (status != TL_OK) continue;
        begin_row(b, i);
        scored[i] = score_row(b, i, &err);
        score_sharing(b, i);
    }
    if (status == TL_OK) score_others(b);
    for (uint32_t i = 0; i < b->rows; i++) row_done(b, i, scored[i], &err);
    batch_end(b);
}

static void batch_add(batch *b, tl_predict_op *op, size_t item)
{
    tl_loop *loop = op->message.loop;
    if (b->rows > 0 && (b->loop != loop || b->model != op->model || b->rows == b->row_max))
        batch_run(b);
    b->loop = loop;
    b->model = op->model;
    b->row[b->rows].op = op;
    b->row[b->rows].item = item;
    row_to_input(b, b->rows++);
}

void *tl_batcher_main(void *context)
{
    tl_runtime *runtime = context;
    static _Thread_local batch b;
    b.row_max = runtime->options.batch_max;
    void *ops[OPS_A_ROUND];
    for (;;) {
        size_t count = tl_queue_pop_many(runtime->predict_queue, ops, OPS_A_ROUND, -1);
        if (count == 0) return NULL; /* closed, and nothing is left */
        for (size_t i = 0; i < count; i++) {
            tl_predict_op *op = ops[i];
            if (op->model == NULL) op->model = tl_model_slot_get(op->message.loop->model);
        }
        for (size_t i = 0; i < count; i++) {
            tl_predict_op *op = ops[i];
            size_t items = op->count; /* the operation may be gone once its last item has run */
            for (size_t item = 0; item < items; item++) batch_add(&b, op, item);
        }
        batch_run(&b);
    }
}
