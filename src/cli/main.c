/* main.c - the program `tightloop`. */
#include "cli/command.h"

int main(int argc, char **argv)
{
    return tl_program_run(argc, argv);
}
