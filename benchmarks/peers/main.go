// A server with the function of yinyang, written with Go's net/http, to compare with ours.
package main

import (
	"context"
	"flag"
	"fmt"
	"html"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const page = `<!DOCTYPE html><html><head><title>Go scaling demo</title></head><body><h1>%s</h1>` +
	`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400"><circle cx="50" cy="50" r="48" fill="%s" stroke="#000"/>` +
	`<path d="M50,2a48,48 0 1 1 0,96a24 24 0 1 1 0-48a24 24 0 1 0 0-48" fill="#000"/>` +
	`<circle cx="50" cy="26" r="6" fill="#000"/><circle cx="50" cy="74" r="6" fill="#FFF"/></svg></body></html>`

func colour(name string) string {
	var sum int64
	for _, b := range []byte(name) {
		sum = sum*31 + int64(b)
	}
	return fmt.Sprintf("#%02x%02x%02x", byte(sum*8), byte(sum>>1*8), byte(sum>>2*8))
}

func main() {
	port := flag.Int("port", 80, "port to listen on")
	name := flag.String("name", "", "identity to show")
	drain := flag.Duration("drain", -1, "time from SIGTERM to the shutdown; negative: die of SIGTERM")
	flag.Parse()
	if *name == "" {
		var err error
		if *name, err = os.Hostname(); err != nil {
			log.Fatal(err)
		}
	}
	own := colour(*name)
	body := []byte(fmt.Sprintf(page, html.EscapeString(*name), own))
	http.HandleFunc("/favicon.ico", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(body)
		log.Printf("Served image, host: %s, colour: %s", *name, own)
	})
	log.Printf("Serving image, host: %s, colour: %s", *name, own)
	server := &http.Server{Addr: fmt.Sprintf(":%d", *port)}
	ended := make(chan error)
	if *drain >= 0 {
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		go func() {
			<-terminated
			time.Sleep(*drain)
			ended <- server.Shutdown(context.Background())
		}()
	}
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}
