{{- define "gateway.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}-gateway
{{- end }}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The seconds of a duration such as 1m30s. */}}
{{- define "gateway.seconds" -}}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]+)?(h|ms|m|s))+$" .) }}{{ fail (printf "config.drain: %q is not a duration such as 90s or 2m" .) }}{{ end -}}
{{- $units := dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(h|ms|m|s)" . -1 -}}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end }}

{{/* The grace period of a pod: the drain's delay and timeout, and ten seconds more. */}}
{{- define "gateway.grace" -}}
{{- $drain := .Values.config.drain | default dict -}}
{{- $needs := add (include "gateway.seconds" (get $drain "delay" | default "0s") | int) (include "gateway.seconds" (get $drain "timeout" | default "30s") | int) 10 -}}
{{- $set := .Values.terminationGracePeriodSeconds | int -}}
{{- if and $set (lt $set (int $needs)) }}{{ fail (printf "terminationGracePeriodSeconds: %d would cut streams that config.drain lets finish: it takes %d" $set (int $needs)) }}{{ end -}}
{{- $set | default $needs -}}
{{- end }}
