// The tiny handler that every way of calling it shares: directly, through nginx, through hob.
// It serves on the unix socket $HOB_SOCKET, and on $BENCH_ADDRESS too when that is set; given an
// address as its argument, only there, as the programs of images do.
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
	if len(os.Args) > 1 {
		log.Fatal(http.ListenAndServe(os.Args[1], handler))
	}
	socket, err := net.Listen("unix", os.Getenv("HOB_SOCKET"))
	if err != nil {
		log.Fatal(err)
	}
	if address := os.Getenv("BENCH_ADDRESS"); address != "" {
		go func() { log.Fatal(http.ListenAndServe(address, handler)) }()
	}
	log.Fatal(http.Serve(socket, handler))
}
