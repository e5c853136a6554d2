// Google Cloud Storage for tests: fake-gcs-server in memory, behind the part of Google's XML interface that object_store writes with
// and fake-gcs-server does not speak (a PUT of an object, with x-goog-if-generation-match, and uploads in parts). Whether a condition
// holds is decided by fake-gcs-server, under its lock. No request is checked for who sent it.
//
//	gcs PORT BUCKET ...     serves these buckets on 127.0.0.1:PORT
package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

const condition = "X-Goog-If-Generation-Match"

// Parts of uploads that are not complete, by upload and number.
type front struct {
	behind http.Handler
	mutex  sync.Mutex
	parts  map[string]map[int][]byte
}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("gcs PORT BUCKET ...")
	}
	address := "127.0.0.1:" + os.Args[1]
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address})
	if err != nil {
		log.Fatal(err)
	}
	for _, bucket := range os.Args[2:] {
		server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	}
	handler := &front{behind: server.HTTPHandler(), parts: map[string]map[int][]byte{}}
	log.Fatal(http.ListenAndServe(address, handler))
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	upload := query.Get("uploadId")
	switch {
	case object == "" || (r.Method != http.MethodPut && r.Method != http.MethodPost && upload == ""):
		f.behind.ServeHTTP(w, r)
	case query.Has("uploads"):
		f.begin(w, bucket, object)
	case upload != "" && r.Method == http.MethodPut:
		f.part(w, r, upload, query.Get("partNumber"))
	case upload != "" && r.Method == http.MethodPost:
		f.complete(w, r, bucket, object, upload)
	case upload != "" && r.Method == http.MethodDelete:
		f.take(upload)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && r.Header.Get("X-Goog-Copy-Source") == "":
		stored, status := f.put(bucket, object, r.Header, r.Body)
		if status == http.StatusOK {
			stored.tell(w)
		}
		w.WriteHeader(status)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

// What the JSON interface says of an object.
type object struct {
	Etag       string `json:"etag"`
	Generation string `json:"generation"`
}

func (o object) tell(w http.ResponseWriter) {
	w.Header().Set("ETag", strconv.Quote(strings.Trim(o.Etag, `"`)))
	w.Header().Set("X-Goog-Generation", o.Generation)
}

// Puts an object by the JSON interface.
func (f *front) put(bucket, name string, header http.Header, body io.Reader) (object, int) {
	query := url.Values{"uploadType": {"media"}, "name": {name}}
	if generation := header.Get(condition); generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	target := "/upload/storage/v1/b/" + url.PathEscape(bucket) + "/o?" + query.Encode()
	request := httptest.NewRequest(http.MethodPost, target, body)
	request.Header.Set("Content-Type", header.Get("Content-Type"))
	answer := httptest.NewRecorder()
	f.behind.ServeHTTP(answer, request)
	var stored object
	if answer.Code == http.StatusOK {
		if err := json.Unmarshal(answer.Body.Bytes(), &stored); err != nil {
			return stored, http.StatusInternalServerError
		}
	}
	return stored, answer.Code
}

func (f *front) begin(w http.ResponseWriter, bucket, name string) {
	f.mutex.Lock()
	upload := fmt.Sprintf("upload-%d", len(f.parts)+1)
	f.parts[upload] = map[int][]byte{}
	f.mutex.Unlock()
	answer(w, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadId string
	}{Bucket: bucket, Key: name, UploadId: upload})
}

func (f *front) part(w http.ResponseWriter, r *http.Request, upload, number string) {
	content, err := io.ReadAll(r.Body)
	at, wrong := strconv.Atoi(number)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	parts := f.parts[upload]
	if err != nil || wrong != nil || parts == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	parts[at] = content
	w.Header().Set("ETag", strconv.Quote("part-"+number))
}

// Takes an upload's parts away; it stays known, so that no other gets its name.
func (f *front) take(upload string) map[int][]byte {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	parts := f.parts[upload]
	f.parts[upload] = nil
	return parts
}

func (f *front) complete(w http.ResponseWriter, r *http.Request, bucket, name, upload string) {
	parts := f.take(upload)
	if parts == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	numbers := make([]int, 0, len(parts))
	for number := range parts {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	var whole bytes.Buffer
	for _, number := range numbers {
		whole.Write(parts[number])
	}
	stored, status := f.put(bucket, name, r.Header, &whole)
	if status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	stored.tell(w)
	answer(w, struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket  string
		Key     string
		ETag    string
	}{Bucket: bucket, Key: name, ETag: strconv.Quote(stored.Etag)})
}

func answer(w http.ResponseWriter, body any) {
	text, err := xml.Marshal(body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.Write(text)
}
