package gateway

import "time"

// storeState is what operators are shown of the store that nodes share.
type storeState struct {
	State     string    `json:"state"` // up or down
	Since     time.Time `json:"since"`
	Nodes     int       `json:"nodes"`
	OnFailure string    `json:"on_store_failure"`
	Error     string    `json:"error,omitempty"`
}

// StoreState describes the store that nodes share; nil without one.
func (g *Gateway) StoreState() any {
	st, configured := g.engines.Limits.Status()
	if !configured {
		return nil
	}
	s := storeState{State: "up", Since: time.Now().Add(-st.For).UTC().Truncate(time.Second), Nodes: st.Nodes, OnFailure: st.OnFailure}
	if !st.Up {
		s.State, s.Error = "down", st.Err.Error()
	}
	return s
}
