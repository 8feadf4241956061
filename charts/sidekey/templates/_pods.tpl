{{/* What the pods of all parts have in common. */}}

{{/* Pod Security `restricted`; the group may read Secrets and write to the volume. */}}
{{- define "sidekey.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
# Once: later the state directory is its owner's alone, and stays so.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "sidekey.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Metadata of a pod: dict "root" $ "part" "store" "values" .Values.store "config" (the part's configuration, so that a change of it restarts the pods). */}}
{{- define "sidekey.podMetadata" -}}
labels:
  {{- include "sidekey.partLabels" . | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ .config | sha256sum }}
  kubectl.kubernetes.io/default-container: {{ .part }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Where pods go: dict "root" $ "part" "store" "values" .Values.store. Spread, but never left waiting for it: one node is a cluster too. */}}
{{- define "sidekey.scheduling" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sidekey.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{- define "sidekey.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* How a part is started and looked after: dict "root" $ "part" "store" "values" .Values.store. The options of Node are those of lib/nodeArgs.ts, by test. */}}
{{- define "sidekey.container" -}}
name: {{ .part }}
image: {{ include "sidekey.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [/usr/local/bin/node, --disable-sigusr1, --disable-warning=ExperimentalWarning{{ if eq .part "operator" }}, --max-semi-space-size=4, {{ printf "--max-old-space-size=%d" (int .root.Values.operator.heapMiB) }}{{ end }}, /sidekey/{{ .part }}.mjs]
args: [--config, /etc/sidekey/config.json]
securityContext:
  {{- include "sidekey.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
startupProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: { path: /readyz, port: metrics }
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Stops only after everybody has heard that the pod is going: until then connections still come. */}}
{{- define "sidekey.preStop" -}}
lifecycle:
  preStop:
    sleep: { seconds: 5 }
{{- end }}

{{/* dict "root" $ "part" "webhook" */}}
{{- define "sidekey.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "sidekey.fullname" .root }}-{{ .part }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidekey.partLabels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # What does not work must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "sidekey.selector" . | nindent 6 }}
{{- end }}

{{/* dict "root" $ "part" "store" "values" .Values.store */}}
{{- define "sidekey.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "sidekey.fullname" .root }}-{{ .part }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidekey.partLabels" . | nindent 4 }}
  {{- with .values.serviceAccountAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
# Only the part's own pods, which ask for it.
automountServiceAccountToken: false
{{- end }}

{{/* From where /metrics may be read, as an ingress rule of a NetworkPolicy. Probes come from the node, which no policy keeps out. */}}
{{- define "sidekey.metricsIngress" -}}
- from:
    - namespaceSelector:
        {{- toYaml .Values.networkPolicy.metricsFrom | nindent 8 }}
  ports:
    - port: metrics
{{- end }}

{{/* Binding of a (Cluster)Role to a part: dict "root" $ "part" "store" "kind" "ClusterRoleBinding" */}}
{{- define "sidekey.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ include "sidekey.fullname" .root }}-{{ .part }}
  {{- if eq .kind "RoleBinding" }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "sidekey.partLabels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ trimSuffix "Binding" .kind }}
  name: {{ include "sidekey.fullname" .root }}-{{ .part }}
subjects:
  - kind: ServiceAccount
    name: {{ include "sidekey.fullname" .root }}-{{ .part }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/* A part's config.json as a ConfigMap: dict "root" $ "part" "store" "config" (JSON) */}}
{{- define "sidekey.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "sidekey.fullname" .root }}-{{ .part }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidekey.partLabels" . | nindent 4 }}
data:
  config.json: |
    {{- .config | fromJson | toPrettyJson | nindent 4 }}
{{- end }}
