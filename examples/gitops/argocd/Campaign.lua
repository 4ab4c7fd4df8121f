-- Argo CD's health of a Mailfleet Campaign: as its conditions say, what a person suspended, and a rollout that waits, is no fault.
hs = {status = "Progressing", message = "It has no status yet."}
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= nil and obj.status.observedGeneration ~= obj.metadata.generation then
  hs.message = "Its newest version is not handled yet."
  return hs
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready = conditions["Ready"]
if ready == nil then
  return hs
end
hs.message = ready.reason .. ": " .. ready.message
local stalled = conditions["Stalled"]
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.reason .. ": " .. stalled.message
elseif ready.reason == "Suspended" or ready.reason == "RolloutPaused" or ready.reason == "RolloutWaiting" then
  hs.status = "Suspended"
elseif ready.status == "True" then
  hs.status = "Healthy"
end
return hs
