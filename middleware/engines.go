package middleware

// Engines are the state behind the policies. They live as long as the process
// and are lent to each configuration's handlers.
type Engines struct{}

// Metrics are the request metrics of the process.
type Metrics struct{}
