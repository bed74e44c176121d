#include <config.h>
#include <raympi.h>

const char *raympi_version(void)
{
    return PACKAGE_VERSION;
}
