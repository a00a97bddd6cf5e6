module mha4rdb/client

go 1.19
