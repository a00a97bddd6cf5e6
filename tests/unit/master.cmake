# The master is a program, not a library: what of it decides is compiled into its test.
mha_test(NAME feed SOURCES feed_test.c "${CMAKE_SOURCE_DIR}/procs/master/feed.c"
	DEPS mha_conf mha_status mha_os mha_base)
