/* folder.h - folders that the program made itself. Layer: cli. */
#ifndef TL_CLI_FOLDER_H
#define TL_CLI_FOLDER_H

/* Remove a folder and everything in it; links are removed, not followed. What cannot be removed
 * stays. */
void tl_folder_remove(const char *path);

#endif
