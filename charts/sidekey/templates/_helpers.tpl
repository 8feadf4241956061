{{/* `sidekey`, or what fullnameOverride says. Not made of the release's name: certificates, policies and docs name these objects, and a cluster has one Sidekey. */}}
{{- define "sidekey.fullname" -}}
{{- .Values.fullnameOverride | default "sidekey" | trunc 48 | trimSuffix "-" }}
{{- end }}

{{- define "sidekey.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/part-of: sidekey
app.kubernetes.io/name: sidekey
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Of a part: dict "root" $ "part" "store". */}}
{{- define "sidekey.partLabels" -}}
{{ include "sidekey.labels" .root }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* What Services and policies select by; never changed, for a Deployment's selector cannot be: dict "root" $ "part" "store". */}}
{{- define "sidekey.selector" -}}
app.kubernetes.io/name: sidekey
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* The image of every part; by digest if there is one. */}}
{{- define "sidekey.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* The image of injected sidecars. */}}
{{- define "sidekey.sidecarImage" -}}
{{ .Values.sidecar.image | default (include "sidekey.image" .) }}
{{- end }}

{{/* Where the store is to those who trust its CA: its certificate names this host. */}}
{{- define "sidekey.storeHost" -}}
{{ include "sidekey.fullname" . }}-store.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "sidekey.storeUrl" -}}
https://{{ include "sidekey.storeHost" . }}:8443
{{- end }}

{{/* Name of the Secret with the key encryption keys; empty if they are in a transit engine. */}}
{{- define "sidekey.kekSecret" -}}
{{- if not .Values.kek.transit.address -}}
{{ .Values.kek.existingSecret | default (printf "%s-kek" (include "sidekey.fullname" .)) }}
{{- end }}
{{- end }}

{{/* Whether the store's state is in PostgreSQL. */}}
{{- define "sidekey.postgresql" -}}
{{- if .Values.store.postgresql.urlSecret.name }}true{{ end }}
{{- end }}
