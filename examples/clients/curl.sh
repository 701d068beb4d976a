#!/bin/sh
# Asks a server by curl. Usage: sh curl.sh http://localhost:8501 photo.jpg
set -eu
server=${1:-http://localhost:8501}
photo=${2:?a picture}

# Which models there are, and what they take.
curl -sSf "$server/nearfar/v1/models"; echo
curl -sSf "$server/v1/models/everyday10/metadata" | head -c 200; echo

# A picture, as it is: the server decodes, crops and scales it.
curl -sSf --data-binary "@$photo" -H 'content-type: image/*' "$server/nearfar/v1/models/everyday10/tasks/image-classification?topK=3"; echo

# Tensors by TensorFlow Serving's REST API: one row of 32 x 32 pixels, all of them grey.
pixel='[0.5,0.5,0.5]'
row="[$(for _ in $(seq 31); do printf '%s,' "$pixel"; done)$pixel]"
image="[$(for _ in $(seq 31); do printf '%s,' "$row"; done)$row]"
printf '{"instances": [{"image": %s}]}' "$image" | curl -sSf --data-binary @- "$server/v1/models/everyday10:predict"; echo
