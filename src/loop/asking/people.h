/* people.h - who is asked about an item, and whose word on it is evidence. Layer: loop. Pure; any thread.
 *
 * With `review.people` each item that is put up for review goes to one of them by a keyed lot
 * (review/people/assign.h): all that is put up of one unit of evidence (a board) to the same person. Only that
 * person's word is evidence; what others say is learned from, as what is volunteered. */
#ifndef TL_LOOP_PEOPLE_H
#define TL_LOOP_PEOPLE_H

#include "journal/journal.h"
#include "loop/config.h"

/* What goes to one person as a whole: the item's unit of evidence (its hash, tl_shadow_unit), or where it
 * has none a hash of its id. */
uint64_t tl_people_subject(uint64_t unit, tl_id id);
/* Hash of the source who is asked; 0: nobody in particular. `round` and `but` as of tl_assign. */
uint64_t tl_people_assign(const tl_loop_config *config, uint64_t subject, uint32_t round,
                          uint64_t but);
/* The name to that hash among the people as of now, borrowed; NULL: none of them. */
const char *tl_people_name(const tl_loop_config *config, uint64_t person);
/* Who is asked about a prediction: 0: nobody in particular, or it is not put up. */
uint64_t tl_people_asked(const tl_loop_config *config, const tl_prediction_record *prediction);

/* The label that stands by the word of one source only, of `statements` as tl_standing_fold takes them;
 * -1: none. The order of `statements` is kept, their content is not. */
int32_t tl_people_label(const tl_prediction_record *prediction, tl_record *statements, size_t count,
                        uint64_t person, size_t class_count, uint64_t third_class_at);

#endif
