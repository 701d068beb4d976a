// Asks a server from Go, with nothing but the standard library.
//
//	go run . http://localhost:8501 photo.jpg
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
)

// Prediction is a class with its score.
type Prediction struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// serverError is how the server says why not; Code is stable, Message is for people.
type serverError struct {
	Message string `json:"error"`
	Code    string `json:"code"`
}

func (e *serverError) Error() string { return e.Message + " (" + e.Code + ")" }

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go run . SERVER PHOTO")
	}
	server, path := os.Args[1], os.Args[2]
	predictions, err := classify(server, path)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range predictions {
		fmt.Printf("%-12s %.3f\n", p.Label, p.Score)
	}
	probabilities, err := infer(server, make([]float32, 32*32*3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("a black picture:", probabilities)
}

// classify sends a picture as it is: the server decodes, crops and scales it.
func classify(server, path string) ([]Prediction, error) {
	photo, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer photo.Close()
	body, _, err := post(server+"/nearfar/v1/models/everyday10/tasks/image-classification?topK=3", photo, map[string]string{"Content-Type": "image/*"})
	if err != nil {
		return nil, err
	}
	var answer struct{ Predictions []Prediction }
	return answer.Predictions, json.Unmarshal(body, &answer)
}

// infer speaks the Open Inference Protocol, the tensors as bytes behind the JSON.
func infer(server string, pixels []float32) ([]float32, error) {
	head, err := json.Marshal(map[string]any{
		"inputs": []any{map[string]any{
			"name": "image", "datatype": "FP32", "shape": []int{1, 32, 32, 3},
			"parameters": map[string]int{"binary_data_size": 4 * len(pixels)},
		}},
		"parameters": map[string]bool{"binary_data_output": true},
	})
	if err != nil {
		return nil, err
	}
	request := bytes.NewBuffer(head)
	if err := binary.Write(request, binary.LittleEndian, pixels); err != nil {
		return nil, err
	}
	const headLength = "Inference-Header-Content-Length"
	body, header, err := post(server+"/v2/models/everyday10/infer", request, map[string]string{
		"Content-Type": "application/octet-stream", headLength: strconv.Itoa(len(head)),
	})
	if err != nil {
		return nil, err
	}
	length, err := strconv.Atoi(header.Get(headLength))
	if err != nil {
		return nil, err
	}
	values := make([]float32, (len(body)-length)/4)
	return values, binary.Read(bytes.NewReader(body[length:]), binary.LittleEndian, values)
}

func post(url string, body io.Reader, headers map[string]string) ([]byte, http.Header, error) {
	request, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		return nil, nil, err
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, err
	}
	if response.StatusCode != http.StatusOK {
		refusal := &serverError{Message: response.Status}
		_ = json.Unmarshal(answer, refusal)
		return nil, nil, refusal
	}
	return answer, response.Header, nil
}
