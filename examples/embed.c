/* embed.c - a whole loop inside a program of your own: predict, tell the truth, be better next
 * time. Build: cc embed.c $(pkg-config --cflags --libs tightloop). Run: embed FOLDER */
#include <stdio.h>
#include <tightloop.h>

int main(int argc, char **argv)
{
    static const char *const classes[] = { "good", "bad" };
    tl_error err = { 0 };
    tl_runtime *runtime = NULL;
    tl_loop *loop = NULL;
    tl_runtime_options where = tl_runtime_options_default();
    where.path = argc > 1 ? argv[1] : "embed-journal";
    tl_loop_options what = tl_loop_options_default();
    what.name = "parts";
    what.input = TL_INPUT_FEATURES;
    what.feature_count = 2;
    what.classes = classes;
    what.class_count = 2;

    tl_status status = tl_runtime_open(&where, &runtime, &err);
    if (status == TL_OK) status = tl_loop_open(runtime, &what, &loop, &err);
    int right = 0;
    for (int i = 0; i < 200 && status == TL_OK; i++) {
        float part[2] = { (float)(i * 37 % 100) / 50.0f - 1.0f,
                          (float)(i * 61 % 100) / 50.0f - 1.0f };
        const char *truth = part[0] + part[1] > 0.0f ? "bad" : "good";
        tl_item item = { .features = part, .feature_count = 2 };
        tl_prediction said;
        status = tl_loop_predict(loop, &item, &said, &err); /* on disk when it returns */
        if (status != TL_OK) break;
        right += classes[said.label] == truth;
        tl_feedback verdict = { .prediction_id = said.id, .label = truth };
        status = tl_loop_feedback(loop, &verdict, NULL, &err); /* the next answer knows it */
    }
    if (status == TL_OK)
        printf("%d of 200 right, having started from nothing\n", right);
    else
        fprintf(stderr, "embed: %s\n", err.text);
    tl_runtime_close(&runtime);
    return status == TL_OK && right > 150 ? 0 : 1;
}
