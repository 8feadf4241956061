import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { commandLines } from '../render/table.ts';

/** Makes a folder to start from. @throws FileExists before anything is written */
export function init(context: Context, dir: string): void {
  const path = resolve(context.cwd, dir);
  const taken = Object.keys(FILES).filter((name) => existsSync(join(path, name)));
  if (taken.length > 0)
    throw new CliError('FileExists', `${path} already has ${taken.join(', ')}; nothing was written`, {
      next: 'name another folder: sidekey init DIR',
    });
  mkdirSync(path, { recursive: true });
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(path, name), text);
  const folder = relative(context.cwd, path) || '.';
  context.result({ folder: path, files: Object.keys(FILES) }, () =>
    [
      `${context.paint('green', '✓')} wrote ${Object.keys(FILES).join(', ')} in ${path}`,
      '',
      'Next:',
      ...commandLines([
        [`sidekey credential set --dir ${folder} openai-key`, 'type the key; it goes into the encrypted store'],
        [`sidekey up ${folder}`, 'keep it running in another terminal'],
        [`sidekey run --dir ${folder} --tag llm -- python3 agent.py`, 'an agent that never sees the key'],
      ]),
    ].join('\n'),
  );
}

const OPENAI = `# A Credential says how a secret is obtained, for which hosts at most, and for how long it is lent.
apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata:
  name: openai-key
spec:
  # The store holds the value: sidekey credential set openai-key
  source:
    store: {}
  # It never goes anywhere else, whatever an Integration says.
  hosts:
    - api.openai.com
  # A sidecar that cannot reach the store gives it up after this time.
  leaseDuration: 15m
---
# An Integration says how and where it is placed, for which agents, under which rules.
apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata:
  name: openai
spec:
  credentialRef:
    name: openai-key
  hosts:
    - api.openai.com
  # Agents can also reach it as http://127.0.0.1:PORT/openai (SIDEKEY_OPENAI_URL).
  alias: openai
  # Authorization: Bearer …
  inject:
    - bearer: {}
  # Agents that were started with: sidekey run --tag llm -- CMD
  subjects:
    tags:
      - llm
  # With a rule of action Allow, all that no rule allows is refused.
  rules:
    - methods: [GET, POST]
      paths:
        - type: PathPrefix
          value: /v1
  limits:
    - requests: 600
      window: 1m
`;

const README = `# Credentials for agents

Agents use what is described here without ever holding it: \`sidekey run\` starts them behind a sidecar that puts the
credential on outgoing requests.

    sidekey credential set openai-key        # type the key once; it is stored encrypted in .sidekey/
    sidekey up .                             # keep it running in another terminal
    sidekey run --tag llm -- python3 agent.py

- \`openai.yaml\` has a Credential and an Integration to copy from. Changes take effect when the file is saved.
- \`sidekey get\` shows what is in force, and what is wrong.
- \`sidekey explain GET https://api.openai.com/v1/models --tag llm\` says what would happen to a request, and why.
- \`sidekey audit tail -f\` shows who got which credential and what for.

Commit the YAML. Never commit \`.sidekey/\`, which holds the encrypted secrets together with their key.
`;

const IGNORE = `# The encrypted secrets and their key.
.sidekey/
# Secrets in plain text.
.env
.env.*
secret*.yaml
`;

const FILES: Readonly<Record<string, string>> = { 'README.md': README, 'openai.yaml': OPENAI, '.gitignore': IGNORE };
