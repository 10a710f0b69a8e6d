// Package okta has the names that Vault uses of Okta's SDK for a second factor, which no test has.
package okta

import (
	"context"
	"errors"
	"net/http"
)

var errAbsent = errors.New("okta: left out of this build")

// --- The client ---

type (
	Configuration struct{ Context context.Context }
	ConfigSetter  func(*Configuration)
	APIClient     struct {
		UserAPI       UserAPI
		UserFactorAPI UserFactorAPI
	}
	// Every request of the SDK is built and then executed.
	Request[Answer any] struct{}
)

func NewConfiguration(...ConfigSetter) (*Configuration, error) { return nil, errAbsent }
func WithToken(string) ConfigSetter                            { return nil }
func WithOrgUrl(string) ConfigSetter                           { return nil }
func WithCache(bool) ConfigSetter                              { return nil }

func NewAPIClient(*Configuration) *APIClient { return &APIClient{} }

func (*APIClient) GetConfig() *Configuration {
	return &Configuration{Context: context.Background()}
}

func (r Request[Answer]) Filter(string) Request[Answer] { return r }

func (Request[Answer]) Execute() (answer Answer, _ *http.Response, _ error) {
	return answer, nil, errAbsent
}

// --- Users and their factors ---

type (
	User                        struct{}
	UserAPI                     struct{}
	UserFactorAPI               struct{}
	UserFactorPush              struct{}
	ListFactors200ResponseInner struct{ UserFactorPush *UserFactorPush }
	VerifyResult                struct{ Links map[string]any }
	// Of these four one is set, and says how the push ended.
	TxStatus struct {
		UserFactorPushTransaction         *struct{}
		UserFactorPushTransactionRejected *struct{}
		UserFactorPushTransactionTimeout  *struct{}
		UserFactorPushTransactionWaiting  *struct{}
	}
)

func (User) GetId() string                    { return "" }
func (*UserFactorPush) GetId() string         { return "" }
func (*VerifyResult) GetFactorResult() string { return "" }

func (UserAPI) ListUsers(context.Context) Request[[]User] { return Request[[]User]{} }

func (UserFactorAPI) ListFactors(context.Context, string) Request[[]ListFactors200ResponseInner] {
	return Request[[]ListFactors200ResponseInner]{}
}

func (UserFactorAPI) VerifyFactor(context.Context, string, string) Request[*VerifyResult] {
	return Request[*VerifyResult]{}
}

func (UserFactorAPI) GetFactorTransactionStatus(context.Context, string, string, string) Request[*TxStatus] {
	return Request[*TxStatus]{}
}
