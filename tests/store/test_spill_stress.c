#include "spill_disk.h"
int main(void)
{
    return 77;
}
