module sandbox/pki

go 1.24
