module example.com/nearfar-client

go 1.22
