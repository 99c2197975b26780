// Uploads with Go's net/http. The arguments and the output are those of every client of
// benchmarks/studies/uploads.py.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

var client = &http.Client{Timeout: 30 * time.Second}

func upload(url, method, header, value string, body []byte) (int, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if header == "Host" {
		request.Host = value
	} else if header != "" {
		request.Header.Set(header, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func main() {
	url, method, header, value := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	for _, each := range os.Args[5:] {
		var size, count int
		fmt.Sscanf(each, "%dx%d", &size, &count)
		body := bytes.Repeat([]byte{'x'}, size)
		for ; count > 0; count-- {
			if status, err := upload(url, method, header, value, body); err == nil {
				fmt.Println(size, status)
			} else {
				fmt.Println(size, strings.ReplaceAll(err.Error(), "\n", " "))
			}
		}
	}
}
