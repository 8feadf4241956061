{{/* Parts of the admission policies. What is said here of the sidecar is compared with api/pods.ts by test/policies. */}}

{{/* The binding of a policy: dict "root" $ "name" "exec". */}}
{{- define "sidekey.policy.binding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "sidekey.fullname" .root }}-{{ .name }}
  labels:
    {{- include "sidekey.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "sidekey.fullname" .root }}-{{ .name }}
  validationActions: [Deny]
{{- end }}

{{- define "sidekey.policy.metadata" -}}
name: {{ include "sidekey.fullname" .root }}-{{ .name }}
labels:
  {{- include "sidekey.labels" .root | nindent 2 }}
{{- end }}

{{/*
Namespaces whose pods are none of an agent's: a policy that is wrong must not stop the control plane from repairing it, nor Sidekey from starting. Whoever
may create pods there owns the cluster or Sidekey anyway. The label is set by the API server, so nobody can put a namespace out of reach.
*/}}
{{- define "sidekey.policy.namespaces" -}}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values: [kube-system, {{ .Release.Namespace }}]
{{- end }}

{{/* CEL: whether the container `c` runs our image. Any digest of its repository, so that neither upgrade nor rollback refuses a pod; tags only where the chart is given one. */}}
{{- define "sidekey.policy.genuine" -}}
{{- $image := include "sidekey.sidecarImage" . -}}
{{- $repository := regexReplaceAll "(:[^:/@]+)?(@sha256:[0-9a-f]+)?$" $image "" -}}
c.image == '{{ $image }}' || c.image.startsWith('{{ $repository }}@sha256:')
{{- if not (contains "@" $image) }} || (c.image.startsWith('{{ $repository }}:') && !c.image.substring({{ len $repository }}).contains('/')){{ end }}
{{- end }}

{{/* CEL: names of the volumes of the pod `object` that hold a token by which one becomes known to the store. */}}
{{- define "sidekey.policy.tokenVolumes" -}}
has(object.spec.volumes) ? object.spec.volumes.filter(v, has(v.projected) && has(v.projected.sources) && v.projected.sources.exists(s, has(s.serviceAccountToken) && has(s.serviceAccountToken.audience) && s.serviceAccountToken.audience == 'sidekey')).map(v, v.name) : []
{{- end }}

{{/* CEL: whether the metadata are those of an agent pod: dict "of" "object". */}}
{{- define "sidekey.policy.labelled" -}}
has({{ .of }}.metadata) && has({{ .of }}.metadata.labels) && 'sidekey.dev/inject' in {{ .of }}.metadata.labels && {{ .of }}.metadata.labels['sidekey.dev/inject'] == 'true'
{{- end }}

{{/* CEL: capabilities by which a container reaches into another or out to the node. */}}
{{- define "sidekey.policy.capabilities" -}}
['ALL', 'SYS_PTRACE', 'SYS_ADMIN', 'SYS_MODULE', 'SYS_RAWIO', 'DAC_READ_SEARCH', 'BPF', 'PERFMON', 'CHECKPOINT_RESTORE']
{{- end }}
