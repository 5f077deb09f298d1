package function

import (
	"fmt"
	"io"
	"net/http"
)

// Handle answers a call.
func Handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	who := string(body)
	if who == "" {
		who = "world"
	}
	fmt.Fprintf(w, "Hello, %s!", who)
}
