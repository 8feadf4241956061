/** YAML for tests: one object each, as a person would write it. */
export const credentialYaml = (
  changes: { name?: string; hosts?: string; source?: string; rest?: string } = {},
): string => `
apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata:
  name: ${changes.name ?? 'key'}
spec:
  source: ${changes.source ?? '{secret: {name: keys, key: api-key}}'}
  hosts: [${changes.hosts ?? 'api.example.com'}]
${changes.rest ?? ''}
---`;

export const integrationYaml = (
  changes: {
    name?: string;
    hosts?: string;
    credential?: string;
    inject?: string;
    subjects?: string;
    rest?: string;
  } = {},
): string => `
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata:
  name: ${changes.name ?? 'example'}
spec:
  credentialRef: {name: ${changes.credential ?? 'key'}}
  hosts: [${changes.hosts ?? 'api.example.com'}]
  inject: ${changes.inject ?? '[{bearer: {}}]'}
  subjects: ${changes.subjects ?? '{tags: [llm]}'}
${changes.rest ?? ''}
---`;

export const secretYaml = (value: string, changes: { name?: string; key?: string } = {}): string => `
apiVersion: v1
kind: Secret
metadata:
  name: ${changes.name ?? 'keys'}
stringData:
  ${changes.key ?? 'api-key'}: ${JSON.stringify(value)}
---`;
