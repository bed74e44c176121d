#include "../unit.h"

#include <config.h>
#include <raympi.h>

static void test_is_the_packages(void)
{
    CU_ASSERT_STRING_EQUAL(raympi_version(), PACKAGE_VERSION);
}

static const struct unit_test tests[] = {
    {"version is the package's", test_is_the_packages},
};

int main(void)
{
    return UNIT_MAIN("base: version", tests);
}
