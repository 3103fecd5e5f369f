// validate.mjs MODULES < objects as JSON > their faults, a list for each object.
//
// The validators are made from the projects' own definitions, but let keys pass that these don't
// know. A key is unknown if the validator never looked at it: so each object is shown to it through
// a proxy that notes what was read.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const CORE = ["kubernetes-models", "IoK8sApi"];
const PLACES = {
  "v1/Namespace": [...CORE, "CoreV1Namespace"],
  "v1/ServiceAccount": [...CORE, "CoreV1ServiceAccount"],
  "v1/ConfigMap": [...CORE, "CoreV1ConfigMap"],
  "v1/Service": [...CORE, "CoreV1Service"],
  "apps/v1/Deployment": [...CORE, "AppsV1Deployment"],
  "policy/v1/PodDisruptionBudget": [...CORE, "PolicyV1PodDisruptionBudget"],
  "networking.k8s.io/v1/NetworkPolicy": [...CORE, "NetworkingV1NetworkPolicy"],
  "karpenter.sh/v1/NodePool": ["@kubernetes-models/karpenter", "IoK8sSigsKarpenterPkgApisV1", "NodePool"],
  ...Object.fromEntries(
    ["ScaledObject", "ClusterTriggerAuthentication"].map((kind) => [
      `keda.sh/v1alpha1/${kind}`,
      ["@kubernetes-models/keda", "ComGithubKedacoreKedaV2ApisKedaV1alpha1", kind],
    ]),
  ),
};

function watched(value, path, seen) {
  if (value === null || typeof value !== "object") return value;
  const inner = Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, watched(each, `${path}/${key}`, seen)]),
  );
  if (Array.isArray(value)) return Object.values(inner);
  return new Proxy(inner, {
    get(target, key) {
      if (typeof key === "string") seen.add(`${path}/${key}`);
      return target[key];
    },
  });
}

function keys(value, path) {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, each]) => [
    ...(Array.isArray(value) ? [] : [`${path}/${key}`]),
    ...keys(each, `${path}/${key}`),
  ]);
}

async function faults(object) {
  const kind = `${object.apiVersion}/${object.kind}`;
  if (!PLACES[kind]) return [`no definition of ${kind}`];
  const [name, start, end] = PLACES[kind];
  const file = join(process.argv[2], name, "_schemas", `${start}${end}.js`);
  const { validate } = await import(pathToFileURL(file));
  const seen = new Set();
  const good = validate(watched(object, "", seen));
  const wrong = good ? [] : validate.errors.map((each) => `${each.instancePath}: ${JSON.stringify(each.params)}`);
  const unknown = keys(object, "").filter((path) => !seen.has(path));
  return [...wrong, ...unknown.map((path) => `${path}: unknown`)];
}

const objects = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const object of objects) found.push(await faults(object));
process.stdout.write(JSON.stringify(found));
