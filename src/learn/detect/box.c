#include "learn/detect/box.h"

#include <math.h>

#define EPSILON 1e-7
#define PI      3.14159265358979323846

double tl_box_area(const tl_box *box)
{
    double width = (double)box->x2 - (double)box->x1, height = (double)box->y2 - (double)box->y1;
    return width > 0.0 && height > 0.0 ? width * height : 0.0;
}

double tl_box_iou(const tl_box *a, const tl_box *b)
{
    const tl_box both = { .x1 = fmaxf(a->x1, b->x1),
                          .y1 = fmaxf(a->y1, b->y1),
                          .x2 = fminf(a->x2, b->x2),
                          .y2 = fminf(a->y2, b->y2) };
    double shared = tl_box_area(&both);
    double joined = tl_box_area(a) + tl_box_area(b) - shared;
    return joined > 0.0 ? shared / joined : 0.0;
}

/* ---- Complete IoU ---------------------------------------------------------------------------- */

typedef struct sides {
    double width, height;
} sides;

static sides sides_of(const double box[4])
{
    return (sides){ box[2] - box[0], box[3] - box[1] + EPSILON };
}

/* Intersection over union; adds its gradient by `a`. */
static double plain_iou(const double a[4], const double b[4], double *grad)
{
    const sides own = sides_of(a), other = sides_of(b);
    double wide = fmax(fmin(a[2], b[2]) - fmax(a[0], b[0]), 0.0);
    double high = fmax(fmin(a[3], b[3]) - fmax(a[1], b[1]), 0.0);
    double shared = wide * high;
    double joined = own.width * own.height + other.width * other.height - shared + EPSILON;
    if (grad == NULL) return shared / joined;
    double by_shared[4] = { 0 };
    if (wide > 0.0 && a[0] > b[0]) by_shared[0] = -high;
    if (high > 0.0 && a[1] > b[1]) by_shared[1] = -wide;
    if (wide > 0.0 && a[2] < b[2]) by_shared[2] = high;
    if (high > 0.0 && a[3] < b[3]) by_shared[3] = wide;
    const double by_area[4] = { -own.height, -own.width, own.height, own.width };
    for (int i = 0; i < 4; i++) {
        double by_joined = by_area[i] - by_shared[i];
        grad[i] += (by_shared[i] * joined - shared * by_joined) / (joined * joined);
    }
    return shared / joined;
}

/* Squared distance of the centres over the squared enclosing diagonal; subtracts its gradient. */
static double centre_term(const double a[4], const double b[4], double *grad)
{
    double wide = fmax(a[2], b[2]) - fmin(a[0], b[0]), high = fmax(a[3], b[3]) - fmin(a[1], b[1]);
    double diagonal = wide * wide + high * high + EPSILON;
    double dx = b[0] + b[2] - a[0] - a[2], dy = b[1] + b[3] - a[1] - a[3];
    double distance = (dx * dx + dy * dy) / 4.0;
    if (grad == NULL) return distance / diagonal;
    const double by_distance[4] = { -dx / 2.0, -dy / 2.0, -dx / 2.0, -dy / 2.0 };
    const double by_diagonal[4] = { a[0] < b[0] ? -2.0 * wide : 0.0,
                                    a[1] < b[1] ? -2.0 * high : 0.0, a[2] > b[2] ? 2.0 * wide : 0.0,
                                    a[3] > b[3] ? 2.0 * high : 0.0 };
    for (int i = 0; i < 4; i++)
        grad[i] -= (by_distance[i] * diagonal - distance * by_diagonal[i]) / (diagonal * diagonal);
    return distance / diagonal;
}

static double aspect_term(const double a[4], const double b[4], double iou, double *grad)
{
    const sides own = sides_of(a), other = sides_of(b);
    double turn = atan(other.width / other.height) - atan(own.width / own.height);
    double value = 4.0 / (PI * PI) * turn * turn;
    double weight = value / (value - iou + (1.0 + EPSILON));
    if (grad == NULL) return value * weight;
    double square = own.width * own.width + own.height * own.height;
    double by_own = weight * -8.0 / (PI * PI) * turn;
    double by_width = by_own * own.height / square, by_height = by_own * -own.width / square;
    grad[0] += by_width;
    grad[1] += by_height;
    grad[2] -= by_width;
    grad[3] -= by_height;
    return value * weight;
}

double tl_box_complete_iou(const double box[4], const double target[4], double *grad)
{
    for (int i = 0; i < 4 && grad != NULL; i++) grad[i] = 0.0;
    double iou = plain_iou(box, target, grad);
    return iou - centre_term(box, target, grad) - aspect_term(box, target, iou, grad);
}
