import type { V1Pod, V1PodTemplateSpec } from '@kubernetes/client-node';
import { WEBHOOK_ERRORS, type WebhookErrorCode } from '../errors.ts';
import { type Injection, injectSidecar } from '../inject/injectSidecar.ts';
import { jsonPatch } from '../inject/jsonPatch.ts';
import type { InjectSettings } from '../inject/settings.ts';
import { type Requestable, stampRequester } from '../requester/stampRequester.ts';
import type { AdmissionRequest, AdmissionResponse } from './admissionReview.ts';

/** What was done with an object, for counting. */
export type Outcome = 'injected' | 'stamped' | 'unchanged' | 'skipped' | 'refused';

export interface Answer {
  response: AdmissionResponse;
  outcome: Outcome;
  code?: WebhookErrorCode;
}

export interface AnswerSettings {
  /** Of a pod of that namespace. @throws NotReady */
  inject: (namespace: string) => InjectSettings;
  trustedControllers: readonly string[];
}

/** The answer to a request about a pod, or about a workload with a template of pods. Pure. @throws NotReady */
export function answerReview(request: AdmissionRequest, settings: AnswerSettings): Answer {
  const { object, oldObject, operation, userInfo: user } = request;
  if (!object || (operation !== 'CREATE' && operation !== 'UPDATE')) return allowed(request, 'unchanged', {});
  const stamped = stampRequester({
    operation,
    object: object as Requestable,
    oldObject: (oldObject ?? undefined) as Requestable | undefined,
    user,
    trustedControllers: settings.trustedControllers,
  });
  if (request.kind.kind === 'Pod') return answerPod(request, stamped as V1Pod, settings);
  const warnings = outlookOf(stamped, request.namespace, settings);
  return allowed(request, stamped === object ? 'unchanged' : 'stamped', { after: stamped, warnings });
}

/** Only at its creation does a pod get containers. */
function answerPod(request: AdmissionRequest, pod: V1Pod, settings: AnswerSettings): Answer {
  if (request.operation !== 'CREATE') return allowed(request, 'stamped', { after: pod });
  const injection = injectSidecar(pod, settings.inject(request.namespace));
  if ('refuse' in injection) return refused(request, injection.refuse, injection.reason);
  if (!('skip' in injection))
    return allowed(request, 'injected', { after: injection.pod, warnings: injection.warnings });
  const warnings = warningsOf(injection);
  return { ...allowed(request, 'skipped', { after: injection.pod, warnings }), code: injection.skip };
}

/** What is said of its pods later goes to a controller, whom nobody reads: so it is said to who writes the template. */
function outlookOf({ spec }: Requestable, namespace: string, settings: AnswerSettings): string[] {
  const template = (spec?.jobTemplate?.spec?.template ?? spec?.template) as V1PodTemplateSpec | undefined;
  if (template?.metadata?.labels?.['sidekey.dev/inject'] !== 'true') return [];
  return warningsOf(injectSidecar(template as V1Pod, settings.inject(namespace)));
}

function warningsOf(injection: Injection): string[] {
  if ('refuse' in injection) return [`sidekey: its pods will be refused: ${injection.refuse}: ${injection.reason}`];
  if (!('skip' in injection)) return injection.warnings;
  return injection.skip === 'NotLabelled' ? [] : [`sidekey: ${injection.skip}: ${injection.reason}`];
}

function allowed(
  request: AdmissionRequest,
  outcome: Outcome,
  { after, warnings = [] }: { after?: object; warnings?: string[] },
): Answer {
  const operations = after === undefined || after === request.object ? [] : jsonPatch(request.object!, after);
  const response: AdmissionResponse = { uid: request.uid, allowed: true };
  if (operations.length > 0) {
    response.patchType = 'JSONPatch';
    response.patch = Buffer.from(JSON.stringify(operations)).toString('base64');
  }
  if (warnings.length > 0) response.warnings = warnings;
  return { response, outcome };
}

/** The API server puts the name of the webhook before the message. */
export function refused(request: { uid: string }, code: WebhookErrorCode, message: string): Answer {
  const { status } = WEBHOOK_ERRORS[code];
  const said = { code: status, reason: code, message: `sidekey: ${code}: ${message}` };
  return { response: { uid: request.uid, allowed: false, status: said }, outcome: 'refused', code };
}
