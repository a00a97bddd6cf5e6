mha_test(NAME log SOURCES log_test.c DEPS mha_base PkgConfig::JANSSON)
mha_test(NAME conf SOURCES conf_test.c DEPS mha_conf mha_base)
target_compile_definitions(test_conf PRIVATE
	SAMPLE_CONF="${CMAKE_SOURCE_DIR}/deploy/mha4rdb.conf"
	MANUAL_PAGE="${CMAKE_SOURCE_DIR}/docs/man/mha4rdb.conf.5")
mha_test(NAME status SOURCES status_test.c DEPS mha_status mha_base)
mha_test(NAME os SOURCES os_test.c DEPS mha_os mha_base)
