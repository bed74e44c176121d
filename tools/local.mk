EXTRA_DIST += %D%/quickstart %D%/format .clang-format .ci/run
