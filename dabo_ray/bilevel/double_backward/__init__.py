"""Networks whose backward pass can be differentiated a second time at little cost."""
