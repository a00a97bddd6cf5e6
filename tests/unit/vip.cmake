# The pure parts of procs/vip, compiled into the test: a program is no library.
set(vip "${CMAKE_SOURCE_DIR}/procs/vip")
mha_test(NAME vip
	SOURCES vip_serve_test.c vip_frame_test.c vip_margins_test.c "${vip}/serve.c" "${vip}/note.c" "${vip}/peers.c"
		"${vip}/announce.c" "${vip}/address.c" "${vip}/netlink.c"
	DEPS mha_conf mha_status mha_core mha_base PkgConfig::MNL)
target_include_directories(test_vip PRIVATE "${vip}")
