package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/aws/aws-msk-iam-sasl-signer-go/signer"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"
	"github.com/segmentio/kafka-go/sasl"
)

// AWSLogin logs in to Amazon MSK with IAM. Credentials come from where AWS programs look for them: the environment, the
// shared files, a web identity, the container or the instance. An empty region is the one in the name of the broker,
// or else that of those places.
//
// What is sent is a signed URL as the token of OAUTHBEARER, which MSK takes beside AWS_MSK_IAM from clients that are
// not written in Java.
func AWSLogin(region string) *Login {
	a := &awsCredentials{}
	return &Login{
		mechanism: "AWS_MSK_IAM",
		look:      "may this IAM identity call kafka-cluster:Connect on the cluster, are the region (KAFKA_AWS_REGION) and this machine's clock right?",
		patience:  tokenPatience,
		start: func(ctx context.Context, host string) (sasl.Mechanism, error) {
			from, where, err := a.get(ctx, awsRegion(region, host))
			if err != nil {
				return nil, err
			}
			if where == "" {
				return nil, fmt.Errorf("the AWS region is not known: set KAFKA_AWS_REGION, for %s does not tell", host)
			}
			token, _, err := signer.GenerateAuthTokenFromCredentialsProvider(ctx, where, from)
			if err != nil {
				return nil, noCredentials(ctx, err)
			}
			return bearer{token: token}, nil
		},
		forget: a.forget,
	}
}

func noCredentials(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no AWS credentials in time: set them in the environment, or see why the metadata service does not answer: %w", ctx.Err())
	}
	return fmt.Errorf("no AWS credentials: give this process a role, or a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: %w", err)
}

var mskHost = regexp.MustCompile(`\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$`)

// awsRegion is the region that is set or, if none is, the one in the name of an MSK broker; empty: not known.
func awsRegion(set, host string) string {
	if set != "" {
		return set
	}
	if found := mskHost.FindStringSubmatch(host); found != nil {
		return found[1]
	}
	return ""
}

// awsCredentials are found once, and renewed by the library.
type awsCredentials struct {
	mu     sync.Mutex // guards what follows
	from   aws.CredentialsProvider
	kept   bool // from has served before
	region string
}

// get returns where credentials come from, and the region: the given one or, if it is empty, that of this process.
func (a *awsCredentials) get(ctx context.Context, region string) (from aws.CredentialsProvider, where string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = a.from != nil
	if !a.kept {
		// To exchange a web identity for credentials takes a region, too.
		c, err := loadAWS(ctx, region)
		if err != nil {
			return nil, "", fmt.Errorf("the AWS settings of this process: %w", err)
		}
		if c.Credentials == nil {
			return nil, "", errors.New("the AWS settings of this process name no credentials")
		}
		a.from, a.region = c.Credentials, c.Region
	}
	return a.from, cmp.Or(region, a.region), nil
}

// loadAWS reads the AWS settings of this process. The metadata service of an instance is asked with a session token only:
// the older way hands credentials to whoever gets this process to send a plain request there.
func loadAWS(ctx context.Context, region string) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithLogger(logging.Nop{}), // else it writes past our own log; what matters comes back as an error
	}
	where, err := config.LoadDefaultConfig(ctx, append(options, config.WithCredentialsProvider(aws.AnonymousCredentials{}))...)
	if err != nil {
		return aws.Config{}, err
	}
	instance := imds.NewFromConfig(where, func(o *imds.Options) { o.EnableFallback = aws.FalseTernary })
	return config.LoadDefaultConfig(ctx, append(options,
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) { o.Client = instance }))...)
}

// forget has the next login look for credentials again, in the files too.
func (a *awsCredentials) forget() (kept bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = nil
	return a.kept
}
