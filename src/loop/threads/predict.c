/* Predictions, from the caller's thread to the batcher: check, decode, queue. */
#include "loop/threads/runtime.h"

#include <math.h>
#include <string.h>

enum {
    OP_BYTES_MAX = 512 << 20,
    /* Pixels of all files of a request, decoded one after the other on the caller's thread: a file
     * of one colour has a thousand of them in a byte. An item with its template may have 50. */
    DECODED_MAX = 64000000
};

/* ---- Taking in ------------------------------------------------------------------------------- */

static bool copy_text(tl_arena *arena, const char *text, const char **out)
{
    *out = NULL;
    if (text == NULL || text[0] == '\0') return true;
    *out = tl_arena_strndup(arena, text, strlen(text));
    return *out != NULL;
}

static tl_status take_texts(tl_predict_op *op, const tl_item *item, tl_prediction_record *p,
                            tl_error *err)
{
    const char *const texts[] = { item->site,  item->line, item->part,
                                  item->board, item->lot,  item->shift };
    const char **const places[] = { &p->site, &p->line, &p->part, &p->board, &p->lot, &p->shift };
    for (size_t i = 0; i < TL_COUNT_OF(texts); i++)
        if (texts[i] != NULL && texts[i][0] != '\0' && !tl_name_is_valid(texts[i]))
            return tl_fail(err, TL_EINVAL,
                           "site, line, part, board, lot and shift are up to %d bytes without "
                           "control characters",
                           TL_TEXT_BYTES_MAX - 1);
    for (size_t i = 0; i < TL_COUNT_OF(texts); i++)
        if (!copy_text(&op->arena, texts[i], places[i])) return tl_fail(err, TL_ENOMEM, "request");
    return TL_OK;
}

/* A copy of the image as it came, for the journal; hashed here, on the caller's thread. */
static tl_status store_image(tl_predict_op *op, const tl_image *image, const tl_stored_image **out,
                             tl_error *err)
{
    tl_stored_image *stored = tl_arena_alloc(&op->arena, sizeof *stored);
    void *data = tl_arena_alloc(&op->arena, image->bytes + 1);
    if (stored == NULL || data == NULL) return tl_fail(err, TL_ENOMEM, "image");
    memcpy(data, image->data, image->bytes);
    bool raw = image->encoding == TL_IMAGE_U8;
    *stored = (tl_stored_image){ .encoding = (uint8_t)image->encoding,
                                 .height = raw ? image->height : 0,
                                 .width = raw ? image->width : 0,
                                 .channels = raw ? image->channels : 0,
                                 .data = data,
                                 .bytes = image->bytes };
    tl_stored_image_hash(stored);
    *out = stored;
    return TL_OK;
}

static tl_status take_image(tl_predict_op *op, tl_image_decoder *decoder, const tl_item *item,
                            size_t index, tl_error *err)
{
    const tl_loop_info *info = &op->message.loop->config.info;
    tl_prediction_record *p = &op->records[index].as.prediction;
    size_t plane = (size_t)info->height * info->width * info->channels;
    uint8_t *pixels = op->pixels + index * (info->has_template ? 2 * plane : plane);
    tl_status status = tl_items_decode(decoder, info, &item->image, pixels, err);
    if (status == TL_OK) status = store_image(op, &item->image, &p->image, err);
    if (status != TL_OK || !info->has_template) return status;
    if (item->reference.encoding == TL_IMAGE_NONE) {
        memset(pixels + plane, 0, plane);
        return TL_OK;
    }
    status = tl_items_decode(decoder, info, &item->reference, pixels + plane, err);
    if (status == TL_OK) status = store_image(op, &item->reference, &p->reference, err);
    return status == TL_OK ? TL_OK : tl_fail_context(err, status, "reference");
}

static tl_status take_features(tl_predict_op *op, const tl_item *item, size_t index, tl_error *err)
{
    const tl_loop_info *info = &op->message.loop->config.info;
    if (item->features == NULL || item->feature_count != info->feature_count)
        return tl_fail(err, TL_ESHAPE, "%zu features; the loop takes %u",
                       item->features == NULL ? 0 : item->feature_count, info->feature_count);
    for (size_t i = 0; i < item->feature_count; i++)
        if (!isfinite(item->features[i]))
            return tl_fail(err, TL_EINVAL, "feature %zu is not a finite number", i);
    float *row = op->features + index * info->feature_count;
    memcpy(row, item->features, info->feature_count * sizeof *row);
    tl_prediction_record *p = &op->records[index].as.prediction;
    float *raw = tl_arena_alloc(&op->arena, info->feature_count * sizeof *raw);
    if (raw == NULL) return tl_fail(err, TL_ENOMEM, "features");
    memcpy(raw, item->features, info->feature_count * sizeof *raw);
    tl_items_clamp(row, info->feature_count, op->message.loop->config.feature_range);
    p->features = raw; /* the journal keeps what came */
    p->feature_count = info->feature_count;
    return TL_OK;
}

/* One decoder a calling thread, made at first use and freed when the thread ends. */
static pthread_key_t decoder_key;
static pthread_once_t decoder_once = PTHREAD_ONCE_INIT;

static void decoder_free(void *decoder)
{
    tl_image_decoder *own = decoder;
    tl_image_decoder_destroy(&own);
}

static void decoder_key_make(void)
{
    pthread_key_create(&decoder_key, decoder_free);
}

static tl_status thread_decoder(tl_image_decoder **out, tl_error *err)
{
    pthread_once(&decoder_once, decoder_key_make);
    tl_image_decoder *decoder = pthread_getspecific(decoder_key);
    if (decoder == NULL) {
        tl_status status = tl_image_decoder_create(NULL, &decoder, err);
        if (status != TL_OK) return status;
        pthread_setspecific(decoder_key, decoder);
    }
    *out = decoder;
    return TL_OK;
}

static tl_status take_items(tl_predict_op *op, const tl_predict_request *request, tl_error *err)
{
    bool images = op->message.loop->config.info.input == TL_INPUT_IMAGE;
    tl_image_decoder *decoder = NULL;
    tl_status status = images ? thread_decoder(&decoder, err) : TL_OK;
    uint64_t before = decoder != NULL ? tl_image_decoder_count(decoder) : 0;
    int64_t now_us = tl_env_wall_us(op->message.loop->runtime->env);
    for (size_t i = 0; status == TL_OK && i < op->count; i++) {
        const tl_item *item = &request->items[i];
        op->records[i] =
            (tl_record){ .kind = TL_RECORD_PREDICTION, .loop = op->message.loop->number };
        tl_prediction_record *p = &op->records[i].as.prediction;
        p->id = item->id;
        p->brought_id = !tl_id_is_none(item->id);
        p->time_us = now_us;
        op->brought_ids = op->brought_ids || p->brought_id;
        status = take_texts(op, item, p, err);
        if (status == TL_OK)
            status =
                images ? take_image(op, decoder, item, i, err) : take_features(op, item, i, err);
        if (status == TL_OK && images && tl_image_decoder_count(decoder) - before > DECODED_MAX)
            status = tl_fail(err, TL_ELIMIT,
                             "the images of a request have over %d pixels together; send fewer at "
                             "a time, or smaller ones",
                             DECODED_MAX);
        if (status != TL_OK && op->count > 1) status = tl_fail_context(err, status, "item %zu", i);
    }
    return status;
}

static void make_ids(tl_predict_op *op)
{
    tl_runtime *runtime = op->message.loop->runtime;
    pthread_mutex_lock(&runtime->id_mutex);
    for (size_t i = 0; i < op->count; i++)
        if (!op->records[i].as.prediction.brought_id)
            op->records[i].as.prediction.id = tl_id_make(&runtime->ids);
    pthread_mutex_unlock(&runtime->id_mutex);
}

static tl_status allocate(tl_predict_op *op, const tl_predict_request *request, tl_error *err)
{
    const tl_loop_info *info = &op->message.loop->config.info;
    size_t count = op->count;
    op->records = tl_arena_alloc(&op->arena, count * sizeof *op->records);
    op->predictions = tl_arena_alloc(&op->arena, count * sizeof *op->predictions);
    tl_pixels_form form = tl_items_pixels_form(&op->message.loop->config);
    if (info->input == TL_INPUT_IMAGE)
        op->pixels = tl_arena_alloc(&op->arena, count * tl_pixels_item_bytes(&form));
    else
        op->features = tl_arena_alloc(&op->arena, count * info->feature_count * sizeof(float));
    if (op->records == NULL || op->predictions == NULL ||
        (op->pixels == NULL && op->features == NULL))
        return tl_fail(err, TL_ENOMEM, "a request of %zu items", count);
    if (request->request_id != NULL) {
        op->entry.request_id =
            tl_arena_strndup(&op->arena, request->request_id, strlen(request->request_id));
        if (op->entry.request_id == NULL) return tl_fail(err, TL_ENOMEM, "request");
        memcpy(op->entry.body_hash, request->body_hash, sizeof op->entry.body_hash);
    }
    return TL_OK;
}

/* ---- Kept versions beside the champion ------------------------------------------------------- */

static tl_model *find_side_model(tl_loop *loop, uint64_t version)
{
    tl_model *found = NULL;
    pthread_mutex_lock(&loop->mutex);
    for (size_t i = 0; i < loop->shared.side_count && found == NULL; i++)
        if (loop->shared.side[i]->version == version) found = loop->shared.side[i];
    if (found != NULL) tl_model_retain(found);
    pthread_mutex_unlock(&loop->mutex);
    return found;
}

static void keep_side_model(tl_loop *loop, tl_model *model)
{
    tl_model *oldest = NULL;
    pthread_mutex_lock(&loop->mutex);
    if (loop->shared.side_count == TL_SIDE_MODEL_MAX) {
        oldest = loop->shared.side[0];
        memmove(loop->shared.side, loop->shared.side + 1,
                --loop->shared.side_count * sizeof loop->shared.side[0]);
    }
    tl_model_retain(model);
    loop->shared.side[loop->shared.side_count++] = model;
    pthread_mutex_unlock(&loop->mutex);
    tl_model_release(&oldest);
}

/* A kept version answers with its network alone: its fast head belongs to the past. */
static tl_status load_side_model(tl_loop *loop, uint64_t number, tl_model **out, tl_error *err)
{
    tl_version *version = NULL;
    pthread_mutex_lock(&loop->lookup_mutex);
    tl_status status = tl_version_read(loop->graph, &loop->lookup, number, &version, err);
    pthread_mutex_unlock(&loop->lookup_mutex);
    if (status != TL_OK)
        return tl_fail(err, status, "version %llu is not kept; GET the versions for those that are",
                       (unsigned long long)number);
    tl_model *champion = tl_model_slot_get(loop->model);
    tl_model from = *champion;
    tl_model_release(&champion);
    from.version = number;
    from.weights = version->weights;
    from.head = NULL;
    tl_mixture_options network_only = tl_mixture_options_default(TL_MODEL_HEAD_COUNT);
    network_only.initial[TL_MODEL_NETWORK] = 1.0;
    status = tl_mixture_init(&from.mixture, &network_only, err);
    *out = status == TL_OK ? tl_model_create(&from) : NULL;
    if (*out != NULL) version->weights = NULL;
    tl_version_destroy(&version);
    if (*out == NULL) return status == TL_OK ? tl_fail(err, TL_ENOMEM, "version") : status;
    keep_side_model(loop, *out);
    return TL_OK;
}

/* Classes, the threshold and being cold are the loop's: as they are now. */
static tl_model *bring_up_to_date(tl_loop *loop, tl_model *side, const tl_model *champion)
{
    if (side->class_count == champion->class_count && side->cold == champion->cold &&
        side->threshold == champion->threshold)
        return side;
    tl_model from = *side;
    from.class_count = champion->class_count;
    from.cold = champion->cold;
    from.threshold = champion->threshold;
    tl_weights_retain(from.weights);
    tl_model *now = tl_model_create(&from);
    if (now == NULL) {
        tl_weights_release(&from.weights);
        return side; /* out of memory: as it was */
    }
    tl_model *before = NULL;
    pthread_mutex_lock(&loop->mutex);
    for (size_t i = 0; i < loop->shared.side_count && before == NULL; i++) {
        if (loop->shared.side[i] != side) continue;
        before = side;
        tl_model_retain(now);
        loop->shared.side[i] = now;
    }
    pthread_mutex_unlock(&loop->mutex);
    tl_model_release(&before);
    tl_model_release(&side);
    return now;
}

static tl_status choose_model(tl_predict_op *op, uint64_t version, tl_error *err)
{
    if (version == 0) return TL_OK; /* the champion of the moment it runs */
    tl_loop *loop = op->message.loop;
    tl_model *champion = tl_model_slot_get(loop->model);
    if (champion->version == version) {
        op->model = champion;
        return TL_OK;
    }
    op->model = find_side_model(loop, version);
    if (op->model != NULL) op->model = bring_up_to_date(loop, op->model, champion);
    tl_model_release(&champion);
    return op->model != NULL ? TL_OK : load_side_model(loop, version, &op->model, err);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static tl_status check_request(tl_loop *loop, const tl_predict_request *request, tl_error *err)
{
    if (loop->runtime->options.read_only)
        return tl_fail(err, TL_EPERM, "the journal was opened for looking only");
    if (atomic_load(&loop->closing)) return tl_fail(err, TL_ECLOSED, "the loop is closing");
    uint64_t waiting = atomic_load(&loop->runtime->waiting_items);
    if (waiting >= loop->runtime->options.queue_max) /* before any picture is decoded */
        return tl_fail(err, TL_EFULL, "%llu items wait already; try again shortly",
                       (unsigned long long)waiting);
    if (request->count < 1 || request->count > TL_ITEM_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "%zu items; send 1 to %d in a request", request->count,
                       TL_ITEM_COUNT_MAX);
    if (request->request_id != NULL &&
        (request->request_id[0] == '\0' ||
         strnlen(request->request_id, TL_REQUEST_ID_BYTES_MAX) == TL_REQUEST_ID_BYTES_MAX))
        return tl_fail(err, TL_EINVAL, "a request id is 1 to %d bytes",
                       TL_REQUEST_ID_BYTES_MAX - 1);
    return TL_OK;
}

void tl_predict_op_free(tl_predict_op *op)
{
    tl_model_release(&op->model);
    tl_arena arena = op->arena; /* the operation itself lives in it */
    tl_arena_destroy(&arena);
}

static tl_status admit(tl_predict_op *op, tl_error *err)
{
    tl_loop *loop = op->message.loop;
    tl_runtime *runtime = loop->runtime;
    size_t count = op->count; /* once queued the operation is not ours */
    if (!tl_waiting_enter(&runtime->waiting_items, count, runtime->options.queue_max))
        return tl_fail(err, TL_EFULL, "%u items wait already; try again shortly",
                       runtime->options.queue_max);
    atomic_fetch_add(&loop->inflight, count);
    tl_status status = tl_queue_push(runtime->predict_queue, op);
    if (status == TL_OK) return TL_OK;
    atomic_fetch_sub(&runtime->waiting_items, count);
    atomic_fetch_sub(&loop->inflight, count);
    return tl_fail(err, status,
                   status == TL_EFULL ? "too many requests wait; try again shortly"
                                      : "shutting down");
}

tl_status tl_loop_predict_async(tl_loop *loop, const tl_predict_request *request,
                                tl_predict_done done, void *context, tl_error *err)
{
    TL_ASSERT(loop != NULL && request != NULL && done != NULL);
    int64_t arrived_ns = tl_env_mono_ns(loop->runtime->env);
    tl_status status = check_request(loop, request, err);
    if (status != TL_OK) return status;
    tl_arena arena;
    tl_arena_init(&arena, OP_BYTES_MAX);
    tl_predict_op *op = tl_arena_alloc(&arena, sizeof *op);
    if (op == NULL) return tl_fail(err, TL_ENOMEM, "request");
    *op = (tl_predict_op){ .message = { TL_MESSAGE_PREDICTION, loop },
                           .arena = arena,
                           .done = done,
                           .context = context,
                           .arrived_ns = arrived_ns,
                           .count = request->count };
    status = allocate(op, request, err);
    if (status == TL_OK) status = choose_model(op, request->version, err);
    if (status == TL_OK) status = take_items(op, request, err);
    if (status == TL_OK) {
        make_ids(op);
        status = admit(op, err);
    }
    if (status != TL_OK) tl_predict_op_free(op);
    return status;
}

typedef struct one_prediction {
    tl_waiter waiter;
    tl_prediction prediction;
} one_prediction;

static void wake(void *context, tl_status status, const tl_prediction *predictions, size_t count,
                 const tl_error *err)
{
    one_prediction *one = context;
    if (status == TL_OK && count > 0) one->prediction = predictions[0];
    tl_waiter_finish(&one->waiter, status, err);
}

tl_status tl_loop_predict(tl_loop *loop, const tl_item *item, tl_prediction *out, tl_error *err)
{
    TL_ASSERT(item != NULL && out != NULL);
    one_prediction one;
    tl_waiter_init(&one.waiter);
    tl_predict_request request = { .items = item, .count = 1 };
    tl_status status = tl_loop_predict_async(loop, &request, wake, &one, err);
    if (status == TL_OK) status = tl_waiter_wait(&one.waiter, err);
    if (status == TL_OK) *out = one.prediction;
    tl_waiter_destroy(&one.waiter);
    return status;
}
