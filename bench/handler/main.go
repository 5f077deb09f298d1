// The tiny handler that every way of calling it shares: directly, through nginx, through hob.
// It serves on the unix socket $HOB_SOCKET, and on $BENCH_ADDRESS too when that is set.
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello\n")
	})
	socket, err := net.Listen("unix", os.Getenv("HOB_SOCKET"))
	if err != nil {
		log.Fatal(err)
	}
	if address := os.Getenv("BENCH_ADDRESS"); address != "" {
		go func() { log.Fatal(http.ListenAndServe(address, handler)) }()
	}
	log.Fatal(http.Serve(socket, handler))
}
