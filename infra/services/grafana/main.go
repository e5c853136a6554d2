// What Grafana's server runs for a Prometheus data source, without its server: its own module `promlib` asks a Seam.
//
//	seam-grafana URL < questions.json > answers.json
//
// questions: {"queries": [{"refId", "expr", "from", "to" (ms), "intervalMs", "maxDataPoints", ...}], "resources": [{"method", "path", "body"}]},
// as a panel sends them; answers: {"health", "queries" (data frames by refId), "resources" (status and body, in their order)}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/grafana/grafana/pkg/promlib"
)

type resource struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body"`
}

type questions struct {
	Queries   []json.RawMessage `json:"queries"`
	Resources []resource        `json:"resources"`
}

type answered struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

type answers struct {
	Health    *backend.CheckHealthResult `json:"health"`
	Queries   *backend.QueryDataResponse `json:"queries"`
	Resources []answered                 `json:"resources"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "seam-grafana:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("name the data source: its URL")
	}
	var asked questions
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("the questions: %w", err)
	}
	settings := backend.DataSourceInstanceSettings{
		ID: 1, UID: "seam", Type: "prometheus", Name: "Seam", URL: arguments[0], Updated: time.Unix(1, 0),
		JSONData: json.RawMessage(`{"httpMethod": "POST", "timeInterval": "1m", "prometheusType": "Prometheus"}`),
	}
	plugin := backend.PluginContext{OrgID: 1, PluginID: "prometheus", DataSourceInstanceSettings: &settings}
	service := promlib.NewService(httpclient.NewProvider(), log.NewNullLogger(), nil)
	ctx := backend.WithGrafanaConfig(context.Background(), backend.NewGrafanaCfg(nil))
	var out answers
	var err error
	if out.Health, err = service.CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: plugin}); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if len(asked.Queries) > 0 {
		request := &backend.QueryDataRequest{PluginContext: plugin}
		for _, query := range asked.Queries {
			request.Queries = append(request.Queries, panel(query))
		}
		if out.Queries, err = service.QueryData(ctx, request); err != nil {
			return fmt.Errorf("queries: %w", err)
		}
	}
	for _, wanted := range asked.Resources {
		path, err := url.Parse(wanted.Path)
		if err != nil {
			return err
		}
		request := &backend.CallResourceRequest{
			PluginContext: plugin, Method: wanted.Method, Path: path.Path, URL: wanted.Path, Body: []byte(wanted.Body),
			Headers: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}},
		}
		var told answered
		err = service.CallResource(ctx, request, backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
			told.Status = r.Status
			if json.Valid(r.Body) {
				told.Body = r.Body
			} else {
				told.Body, _ = json.Marshal(string(r.Body))
			}
			return nil
		}))
		if err != nil {
			return fmt.Errorf("%s: %w", wanted.Path, err)
		}
		out.Resources = append(out.Resources, told)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// What Grafana's server makes of a panel's query.
func panel(raw json.RawMessage) backend.DataQuery {
	var model struct {
		RefID         string `json:"refId"`
		From          int64  `json:"from"`
		To            int64  `json:"to"`
		IntervalMs    int64  `json:"intervalMs"`
		MaxDataPoints int64  `json:"maxDataPoints"`
	}
	_ = json.Unmarshal(raw, &model)
	return backend.DataQuery{
		RefID:         model.RefID,
		TimeRange:     backend.TimeRange{From: time.UnixMilli(model.From).UTC(), To: time.UnixMilli(model.To).UTC()},
		Interval:      time.Duration(model.IntervalMs) * time.Millisecond,
		MaxDataPoints: model.MaxDataPoints,
		JSON:          raw,
	}
}
