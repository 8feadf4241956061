{{/*
The smallest whole of it: an upstream that says what it got, a credential for it, and an agent that asks it without one. NOTES.txt has it to paste, `helm test` runs it.
dict "root" $ "namespace" "sidekey-demo" "hook" false. In a namespace of its own: pods of the release's are never injected.
*/}}
{{- define "sidekey.demo" -}}
{{- $root := .root }}
{{- $fullname := include "sidekey.fullname" .root }}
{{- $image := include "sidekey.image" .root }}
{{- $host := printf "echo.%s.svc" .namespace -}}
apiVersion: v1
kind: Namespace
metadata:
  name: {{ .namespace }}
  labels:
    pod-security.kubernetes.io/enforce: restricted
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 1) }}{{ . | nindent 2 }}{{ end }}
---
# Says what it got, but no more of it than the beginning.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: echo
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 2) }}{{ . | nindent 2 }}{{ end }}
spec:
  selector: { matchLabels: { app: echo } }
  template:
    metadata:
      labels: { app: echo }
    spec:
      # It ends by no signal, and nobody waits for it.
      terminationGracePeriodSeconds: 0
      automountServiceAccountToken: false
      {{- include "sidekey.demo.pod" .root | nindent 6 }}
      containers:
        - name: echo
          {{- include "sidekey.demo.container" .root | nindent 10 }}
          readinessProbe: { tcpSocket: { port: 8080 } }
          args:
            - |
              require('node:http').createServer((request, response) => {
                const { authorization = '' } = request.headers;
                const said = authorization === '' ? 'no Authorization' : `Authorization: ${authorization.slice(0, 12)}… (${authorization.length} characters)`;
                response.end(`the upstream got ${said}`);
              }).listen(8080);
---
apiVersion: v1
kind: Service
metadata:
  name: echo
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 3) }}{{ . | nindent 2 }}{{ end }}
spec:
  selector: { app: echo }
  ports: [{ port: 8080 }]
---
apiVersion: v1
kind: Secret
metadata:
  name: echo
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 4) }}{{ . | nindent 2 }}{{ end }}
stringData:
  token: demo-token-that-no-agent-sees
---
# Lets the operator read the Secrets of this namespace.
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $fullname }}-secret-reader
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 5) }}{{ . | nindent 2 }}{{ end }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $fullname }}-secret-reader }
subjects: [{ kind: ServiceAccount, name: {{ $fullname }}-operator, namespace: {{ $root.Release.Namespace }} }]
---
apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata:
  name: echo
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 6) }}{{ . | nindent 2 }}{{ end }}
spec:
  source: { secret: { name: echo, key: token } }
  hosts: ["{{ $host }}:8080"]
---
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata:
  name: echo
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 7) }}{{ . | nindent 2 }}{{ end }}
spec:
  credentialRef: { name: echo }
  hosts: ["{{ $host }}:8080"]
  inject: [{ bearer: {} }]
  subjects: { tags: [echo] }
  # Plain http within the cluster, at a private address: neither is allowed unless one says so.
  allowPlaintext: true
  allowedNetworks: {{ $root.Values.test.allowedNetworks | toJson }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: agent
  namespace: {{ .namespace }}
  {{- with include "sidekey.demo.hook" (dict "hook" .hook "weight" 8) }}{{ . | nindent 2 }}{{ end }}
spec:
  backoffLimit: 0
  activeDeadlineSeconds: 120
  template:
    metadata:
      labels: { sidekey.dev/inject: "true", tag.sidekey.dev/echo: "" }
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      {{- include "sidekey.demo.pod" .root | nindent 6 }}
      containers:
        - name: agent
          {{- include "sidekey.demo.container" .root | nindent 10 }}
          env: [{ name: NODE_USE_ENV_PROXY, value: "1" }]
          args:
            - |
              const ask = () => fetch('http://{{ $host }}:8080/').then((response) => response.text(), (error) => `no answer yet: ${error.cause?.message ?? error.message}`);
              (async () => {
                for (let attempt = 0; attempt < 60; attempt += 1) {
                  const said = await ask();
                  if (attempt % 5 === 0 || said.includes('got Authorization:')) console.log(`the agent sent no Authorization; ${said}`);
                  if (said.includes('got Authorization:')) return;
                  await new Promise((resolve) => setTimeout(resolve, 1000));
                }
                process.exitCode = 1;
              })();
{{- end }}

{{/* dict "hook" true "weight" 1. One after the other; left to be looked at where the test fails. */}}
{{- define "sidekey.demo.hook" -}}
{{- if .hook -}}
annotations:
  helm.sh/hook: test
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
{{- end }}

{{- define "sidekey.demo.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
# The Secrets are to be in this namespace too.
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "sidekey.demo.container" -}}
image: {{ include "sidekey.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [/usr/local/bin/node, -e]
resources:
  requests: { cpu: 10m, memory: 64Mi }
  limits: { memory: 128Mi }
securityContext:
  {{- include "sidekey.containerSecurity" . | nindent 2 }}
{{- end }}
