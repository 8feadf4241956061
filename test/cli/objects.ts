/** YAML of a Credential with source store and an Integration that places it as a bearer token. */
export function bearerYaml(options: {
  name: string;
  host: string;
  tag?: string;
  alias?: string;
  extra?: string;
}): string {
  const { name, host, tag = 'llm', alias = name, extra = '' } = options;
  return `apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata: { name: ${name}-key }
spec:
  source: { store: {} }
  hosts: [${host}]
---
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata: { name: ${name} }
spec:
  credentialRef: { name: ${name}-key }
  hosts: [${host}]
  alias: ${alias}
  inject: [{ bearer: {} }]
  subjects: { tags: [${tag}] }
${extra}`;
}
