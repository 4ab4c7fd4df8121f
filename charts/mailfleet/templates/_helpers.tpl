{{/* The name of the chart. */}}
{{- define "mailfleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The full name: the release's, with the chart's unless it has it already. */}}
{{- define "mailfleet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "mailfleet.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "mailfleet.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "mailfleet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mailfleet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mailfleet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "mailfleet.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "mailfleet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mailfleet.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "mailfleet.planNamespace" -}}
{{- default .Release.Namespace .Values.planNamespace }}
{{- end }}

{{/* The namespaces that need a Role, as JSON: those that are watched, and that of the plans. */}}
{{- define "mailfleet.namespaces" -}}
{{- append .Values.namespaces (include "mailfleet.planNamespace" .) | uniq | sortAlpha | toJson }}
{{- end }}

{{- define "mailfleet.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "mailfleet.claim" -}}
{{- default (printf "%s-ledger" (include "mailfleet.fullname" .)) .Values.persistence.existingClaim }}
{{- end }}

{{/* What the controller does with objects, wherever it may. */}}
{{- define "mailfleet.rules" -}}
- apiGroups: [mailfleet.dev]
  resources: [sendingservers, plans, campaigns]
  verbs: [list, watch]
- apiGroups: [mailfleet.dev]
  resources: [sendingservers/status, plans/status, campaigns/status]
  verbs: [patch]
# The finalizer, while a campaign sends.
- apiGroups: [mailfleet.dev]
  resources: [campaigns]
  verbs: [patch]
# list and watch see metadata only, get those that are named; the rights cannot tell: see the documentation.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
