// Which recipe a dataset is trained by: its sizes decide the buckets that the page shows.
import { BYPASSED, NEVER, originOf } from "./dataset_graph.js"

const [TRAIN, RECIPE] = ["KilnTrainLoRA", "KilnRecipe"]
const SIZES = ["resolution", "bucket_step", "min_bucket", "max_bucket", "bucket_no_upscale", "enable_bucket"]

/**
 * The settings that decide the buckets of a node's dataset, as the query of an address; empty where no recipe is known.
 * @param {ComfyNode} node
 */
export function sizesOf(node) {
  const query = new URLSearchParams()
  for (const each of recipesOf(node)) {
    const wired = new Set((each.inputs ?? []).filter((slot) => slot.link != null).map((slot) => slot.name))
    for (const { name, value } of each.widgets ?? []) {
      if (!SIZES.includes(name) || wired.has(name)) continue
      query.set(name, typeof value === "boolean" ? String(Number(value)) : String(value))
    }
  }
  return query.size ? `?${query}` : ""
}

/**
 * The recipe that a node's dataset is trained by, and the group of buckets wired into it; where no Train LoRA takes the
 * dataset, the only recipe of the graph.
 * @param {ComfyNode} node
 * @returns {ComfyNode[]}
 */
function recipesOf(node) {
  const nodes = (node.graph?.nodes ?? []).filter(({ mode }) => mode !== NEVER && mode !== BYPASSED)
  const trainer = nodes.find((each) => each.comfyClass === TRAIN && comesFrom(each, node, new Set()))
  const recipes = nodes.filter((each) => each.comfyClass === RECIPE)
  const recipe = trainer ? wiredInto(trainer, "recipe") : recipes.length === 1 ? recipes[0] : null
  if (recipe?.comfyClass !== RECIPE) return []
  const buckets = wiredInto(recipe, "buckets")
  return buckets ? [recipe, buckets] : [recipe]
}

/**
 * @param {ComfyNode} node
 * @param {string} name of an input
 */
function wiredInto(node, name) {
  const input = node.inputs.findIndex((slot) => slot.name === name)
  return (input >= 0 && originOf(node, input)?.node) || null
}

/**
 * Whether a dataset that a node takes has come through another node.
 * @param {ComfyNode} node
 * @param {ComfyNode} other
 * @param {Set<ComfyNode>} been
 * @returns {boolean}
 */
function comesFrom(node, other, been) {
  if (node === other) return true
  if (been.has(node)) return false
  been.add(node)
  return (node.inputs ?? []).some((slot, input) => {
    const link = slot.link == null ? null : node.getInputLink(input)
    const origin = link && node.graph?.getNodeById(link.origin_id)
    return Boolean(origin && comesFrom(origin, other, been))
  })
}
