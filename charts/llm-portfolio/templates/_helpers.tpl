{{/* Names and labels, in one place. */}}

{{- define "llm-portfolio.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The prefix of every name. 40 characters, so that the longest suffix still fits a Service's name. */}}
{{- define "llm-portfolio.fullname" -}}
{{- $name := include "llm-portfolio.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component; never changes. Takes (list $ "component"). */}}
{{- define "llm-portfolio.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ include "llm-portfolio.name" $ }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The labels of everything. Takes (list $ "component"). */}}
{{- define "llm-portfolio.labels" -}}
{{- $ := index . 0 -}}
{{ include "llm-portfolio.selector" . }}
app.kubernetes.io/part-of: llm-portfolio
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "llm-portfolio.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Where pods of this cluster reach the gateway. */}}
{{- define "llm-portfolio.gatewayUrl" -}}
{{- $port := int .Values.gateway.service.port -}}
http://{{ include "llm-portfolio.fullname" . }}-gateway.{{ .Release.Namespace }}.svc{{ if ne $port 80 }}:{{ $port }}{{ end }}
{{- end -}}

{{/* What both Deployments' pods have in common. Takes (list $ "component" values-of-the-component). */}}
{{- define "llm-portfolio.pod" -}}
{{- $ := index . 0 -}}
{{- $own := index . 2 -}}
serviceAccountName: {{ include "llm-portfolio.fullname" $ }}-{{ index . 1 }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
- name: settings
  configMap: {name: {{ include "llm-portfolio.fullname" $ }}-settings}
- name: prices
  configMap: {name: {{ include "llm-portfolio.fullname" $ }}-prices}
{{- end -}}

{{- define "llm-portfolio.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
