// Serves function.Handle on the unix socket $HOB_SOCKET, or else on $HOST:$PORT.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"function"
)

func main() {
	log.SetFlags(0)
	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(handle)}
	stopped := make(chan struct{})
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
		server.Shutdown(context.Background()) // waits for the calls in flight
		close(stopped)
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-stopped
}

func listen() (net.Listener, error) {
	if path := os.Getenv("HOB_SOCKET"); path != "" {
		os.Remove(path)
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "8080")))
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func handle(w http.ResponseWriter, r *http.Request) {
	defer func() {
		problem := recover()
		if problem == nil {
			return
		}
		if problem == http.ErrAbortHandler {
			panic(problem)
		}
		log.Printf("panic: %v\n%s", problem, debug.Stack())
		where := "its log"
		if name := os.Getenv("HOB_FUNCTION"); name != "" {
			where = "`hob logs " + name + "`"
		}
		http.Error(w, "handler failed: see "+where, http.StatusInternalServerError)
	}()
	function.Handle(w, r)
}
