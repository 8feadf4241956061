import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AdminSession, JoinTokenAnswer } from '../../api/admin.ts';
import type { JoinBootstrap } from '../../api/bootstrap.ts';
import type { CredentialRecord, IntegrationRecord } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { type Answer, admin, type Body, json, material, SESSION, StoreClient } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';

/** A real store in a directory of its own, and an operator that tells it what there is. */
export class TestStore {
  readonly dir: string;
  process: StoreProcess;
  #operator: StoreClient;

  private constructor(dir: string, process: StoreProcess, operator: StoreClient) {
    this.dir = dir;
    this.process = process;
    this.#operator = operator;
  }

  static async start(): Promise<TestStore> {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-test-'));
    const process = await StoreProcess.start(join(dir, 'state'));
    return new TestStore(dir, process, await StoreClient.join(process, { kind: 'operator' }));
  }

  /** Kills it and starts it again on the same state and port. */
  async restart(): Promise<void> {
    await this.process.kill();
    const port = Number(new URL(this.process.storeUrl).port);
    this.process = await StoreProcess.start(join(this.dir, 'state'), { port });
    this.#operator.close();
    this.#operator = new StoreClient(this.process, this.#operator.answer, this.#operator.tls);
  }

  async stop(): Promise<void> {
    this.#operator.close();
    await this.process.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  credential(changes: Partial<CredentialRecord> = {}, key = 'default/key'): Promise<Answer> {
    return this.operator('PUT', `/v1/credentials/${key}`, json(credentialRecord(changes)));
  }

  removeCredential(key = 'default/key'): Promise<Answer> {
    return this.operator('DELETE', `/v1/credentials/${key}`);
  }

  integration(changes: Partial<IntegrationRecord> = {}, key = 'default/example'): Promise<Answer> {
    return this.operator('PUT', `/v1/integrations/${key}`, json(integrationRecord(changes)));
  }

  removeIntegration(key = 'default/example'): Promise<Answer> {
    return this.operator('DELETE', `/v1/integrations/${key}`);
  }

  /** A new version: of the field `value`, or of the fields given. */
  material(fields: string | Record<string, string>, key = 'default/key'): Promise<Answer> {
    const body = material(typeof fields === 'string' ? { value: fields } : fields);
    return this.operator('PUT', `/v1/credentials/${key}/material`, body);
  }

  async sessions(): Promise<AdminSession[]> {
    return (await admin(this.process, 'GET', '/v1/admin/sessions')).json();
  }

  endSession(id: string): Promise<Answer> {
    return admin(this.process, 'DELETE', `/v1/admin/sessions/${id}`);
  }

  /** What a parent hands to a sidecar: good for one join. */
  async bootstrap(): Promise<JoinBootstrap> {
    const body = json({ kind: 'session', session: SESSION });
    const answer = await admin(this.process, 'POST', '/v1/admin/join-tokens', body);
    const { storeUrl, trustBundlePem } = this.process;
    return { storeUrl, trustBundlePem, joinToken: answer.json<JoinTokenAnswer>().joinToken };
  }

  /** @throws Error unless the store took it */
  async operator(method: string, path: string, body?: Body): Promise<Answer> {
    const answer = await this.#operator.call(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path} was answered ${answer.status} ${answer.body}`);
    return answer;
  }
}
