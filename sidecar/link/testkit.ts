import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import type { JoinBootstrap } from '../../api/bootstrap.ts';
import type { CredentialRecord, IntegrationRecord } from '../../api/protocol.ts';
import { systemClock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { type Answer, admin, type Body, json, material, SESSION, StoreClient } from '../../test/store/storeClient.ts';
import { StoreProcess } from '../../test/store/storeProcess.ts';
import { Identity } from './identity.ts';

export const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A real store for one test file, and an operator that tells it what there is. */
export class TestStore {
  process: StoreProcess;
  readonly #dir: string;
  #operator: StoreClient;

  private constructor(dir: string, process: StoreProcess, operator: StoreClient) {
    this.#dir = dir;
    this.process = process;
    this.#operator = operator;
  }

  static async start(): Promise<TestStore> {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-link-'));
    const process = await StoreProcess.start(join(dir, 'state'));
    return new TestStore(dir, process, await StoreClient.join(process, { kind: 'operator' }));
  }

  /** Starts it again on the same state and port. */
  async restart(): Promise<void> {
    await this.process.kill();
    const port = Number(new URL(this.process.storeUrl).port);
    this.process = await StoreProcess.start(join(this.#dir, 'state'), { port });
    this.#operator.close();
    this.#operator = new StoreClient(this.process, this.#operator.answer, this.#operator.tls);
  }

  async stop(): Promise<void> {
    this.#operator.close();
    await this.process.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  credential(changes: Partial<CredentialRecord> = {}, key = 'default/key'): Promise<Answer> {
    return this.operator('PUT', `/v1/credentials/${key}`, json(credentialRecord(changes)));
  }

  integration(changes: Partial<IntegrationRecord> = {}, key = 'default/example'): Promise<Answer> {
    return this.operator('PUT', `/v1/integrations/${key}`, json(integrationRecord(changes)));
  }

  removeIntegration(key = 'default/example'): Promise<Answer> {
    return this.operator('DELETE', `/v1/integrations/${key}`);
  }

  material(value: string, key = 'default/key'): Promise<Answer> {
    return this.operator('PUT', `/v1/credentials/${key}/material`, material({ value }));
  }

  endSession(id: string): Promise<Answer> {
    return admin(this.process, 'DELETE', `/v1/admin/sessions/${id}`);
  }

  /** What a parent hands to a sidecar: good for one join. */
  async bootstrap(): Promise<JoinBootstrap> {
    const answer = await admin(
      this.process,
      'POST',
      '/v1/admin/join-tokens',
      json({ kind: 'session', session: SESSION }),
    );
    const { storeUrl, trustBundlePem } = this.process;
    return { storeUrl, trustBundlePem, joinToken: answer.json<JoinTokenAnswer>().joinToken };
  }

  /** Joins as a sidecar does; over with the test. */
  async join(revoked: (reason: string) => void = () => {}): Promise<Identity> {
    const identity = await Identity.join({
      clock: systemClock,
      log: quiet,
      bootstrap: await this.bootstrap(),
      revoked,
    });
    onTestFinished(() => identity.close());
    return identity;
  }

  /** @throws Error unless the store took it */
  async operator(method: string, path: string, body?: Body): Promise<Answer> {
    const answer = await this.#operator.call(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path} was answered ${answer.status} ${answer.body}`);
    return answer;
  }
}

/** Waits for what another process or timer brings about. @throws Error after 5 s */
export async function until<T>(what: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const limitMs = performance.now() + 5_000;
  for (;;) {
    const value = await what();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > limitMs) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
