{{- define "streamweir.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "streamweir.selector" -}}
app.kubernetes.io/name: streamweir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "streamweir.labels" -}}
{{ include "streamweir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
