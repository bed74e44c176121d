/* Runs the tests of one CUnit program; a program that has a failed assertion or ran no test fails.
 *
 *     static const struct unit_test tests[] = {{"name of the case", function}, ...};
 *     int main(void) { return UNIT_MAIN("room: topic", tests); }
 *
 * Prints one line "Test: name of the case ...passed" a case, which tests/acceptance-check reads. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <CUnit/Basic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct unit_test {
    const char *name;
    void (*run)(void);
};

#define UNIT_MAIN(suite, tests) unit_main((suite), (tests), sizeof(tests) / sizeof((tests)[0]))

static inline int unit_main(const char *suite_name, const struct unit_test *tests, size_t count)
{
    CU_pSuite suite;

    /* What a test had printed is still there when it crashes. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (CU_initialize_registry() != CUE_SUCCESS)
        return EXIT_FAILURE;
    suite = CU_add_suite(suite_name, NULL, NULL);
    for (size_t i = 0; suite && i < count; i++)
        if (!CU_add_test(suite, tests[i].name, tests[i].run))
            return EXIT_FAILURE;
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    int good = suite && CU_get_number_of_tests_run() == count && CU_get_number_of_failures() == 0;
    CU_cleanup_registry();
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
