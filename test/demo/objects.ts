/** The folder that the demo hands to `sidekey up`: what a person would write, and nothing secret in it. */
export const OBJECTS = `# Where each key comes from, and the only hosts that it may be sent to.
apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata: {name: openai-key}
spec:
  source: {store: {}}
  hosts: [api.openai.com]
---
apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata: {name: stripe-key}
spec:
  source: {store: {}}
  hosts: [api.stripe.com]
---
apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata: {name: github-token}
spec:
  source: {store: {}}
  hosts: [github.com]
---
# How it is placed, for whom, and for which requests.
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata: {name: openai}
spec:
  credentialRef: {name: openai-key}
  hosts: [api.openai.com]
  alias: openai
  inject: [{bearer: {}}]
  subjects: {tags: [llm]}
  rules:
    - {methods: [POST], paths: [{value: /v1/chat/completions}]}
---
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata: {name: stripe}
spec:
  credentialRef: {name: stripe-key}
  hosts: [api.stripe.com]
  inject: [{basic: {usernameField: value}}]
  subjects: {tags: [payments]}
  rules:
    - {methods: [GET], paths: [{value: /v1}]}
---
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata: {name: github}
spec:
  credentialRef: {name: github-token}
  hosts: [github.com]
  inject: [{basic: {username: x-access-token}}]
  subjects: {tags: [code]}
`;
