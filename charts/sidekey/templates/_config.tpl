{{/* What each part is told: store/config.ts, operator/config.ts and webhook/config.ts refuse what they do not know, and a test gives them what is rendered here. */}}

{{/* stateDir is below the volume: that one's root belongs to whoever made the volume, and the admin socket must be in a directory of our own. */}}
{{- define "sidekey.storeConfig" -}}
{{- $fullname := include "sidekey.fullname" . }}
{{- $kek := dict "secretDir" "/etc/sidekey/kek" }}
{{- with .Values.kek.transit }}
{{- if .address }}
{{- $transit := dict "address" .address "keyName" .keyName "mount" .mount "tokenFile" "/etc/sidekey/transit/token" }}
{{- if .namespace }}{{ $_ := set $transit "namespace" .namespace }}{{ end }}
{{- if .caSecret.name }}{{ $_ := set $transit "caFile" "/etc/sidekey/transit-ca/ca.pem" }}{{ end }}
{{- $kek = dict "transit" $transit }}
{{- end }}
{{- end }}
{{- $config := dict
  "part" "store"
  "stateDir" "/var/lib/sidekey/state"
  "kek" $kek
  "listenHost" .Values.listenHost
  "listenPort" 8443
  "metricsHost" .Values.listenHost
  "metricsPort" 9090
  "kubernetes" (dict
    "operator" (dict "namespace" .Release.Namespace "serviceAccount" (printf "%s-operator" $fullname))
    "trustConfigMap" (dict "namespace" .Release.Namespace "name" (printf "%s-trust" $fullname))) }}
{{- if include "sidekey.postgresql" . }}{{ $_ := set $config "databaseUrlFile" "/etc/sidekey/database/url" }}{{ end }}
{{- $config | toJson }}
{{- end }}

{{- define "sidekey.operatorConfig" -}}
{{- $fullname := include "sidekey.fullname" . }}
{{- $config := dict
  "part" "operator"
  "storeUrl" (include "sidekey.storeUrl" .)
  "metricsHost" .Values.listenHost
  "metricsPort" 9090
  "tokenFile" "/var/run/secrets/sidekey/token"
  "kubernetes" (dict
    "namespace" .Release.Namespace
    "serviceAccount" (printf "%s-operator" $fullname)
    "leaseName" (printf "%s-operator" $fullname)
    "trustConfigMap" (printf "%s-trust" $fullname)
    "secretReaderRole" (printf "%s-secret-reader" $fullname)) }}
{{- if not .Values.certManager.enabled }}
{{- $_ := set $config.kubernetes "webhookTls" (dict
  "secret" (printf "%s-webhook-tls" $fullname)
  "configuration" $fullname
  "service" (printf "%s-webhook" $fullname)) }}
{{- end }}
{{- $config | toJson }}
{{- end }}

{{- define "sidekey.webhookConfig" -}}
{{- $fullname := include "sidekey.fullname" . }}
{{- $resources := dict }}
{{- range $kind, $quantities := .Values.sidecar.resources }}
{{- $texts := dict }}
{{- range $name, $quantity := $quantities }}{{ $_ := set $texts $name (toString $quantity) }}{{ end }}
{{- $_ := set $resources $kind $texts }}
{{- end }}
{{- $sidecar := dict
  "image" (include "sidekey.sidecarImage" .)
  "imagePullPolicy" .Values.image.pullPolicy
  "egress" .Values.sidecar.egress
  "resources" $resources }}
{{- if .Values.sidecar.extraCA }}{{ $_ := set $sidecar "extraCaPem" .Values.sidecar.extraCA }}{{ end }}
{{- dict
  "part" "webhook"
  "storeUrl" (include "sidekey.storeUrl" .)
  "listenHost" .Values.listenHost
  "listenPort" 8443
  "metricsHost" .Values.listenHost
  "metricsPort" 9090
  "sidecar" $sidecar
  "trustedControllers" .Values.webhook.trustedControllers
  "clusterDomain" .Values.clusterDomain
  "kubernetes" (dict
    "namespace" .Release.Namespace
    "tlsSecret" (printf "%s-webhook-tls" $fullname)
    "trustConfigMap" (printf "%s-trust" $fullname)) | toJson }}
{{- end }}
